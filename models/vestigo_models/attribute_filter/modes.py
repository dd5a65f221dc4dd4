"""The modes of the attribute filter, `off | strict | quality | TAU | auto | soft`, and the choice of one.

The threshold of `auto` holds a largest miss rate by conformal risk control over identities: docs/method.md, section
"Conformal risk control" (Angelopoulos et al., ICLR 2024, theorem 1). Temperatures and everything else that is fitted
must come from other identities, because the bound needs exchangeable ones.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from math import floor, inf, nan
from typing import Literal

from pydantic import Field

from vestigo_models.attribute_filter.curve import OFF
from vestigo_models.attribute_filter.record import Calibration, FilterRecord
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.errors import ConfigError
from vestigo_models.strict_model import StrictModel

FilterMode = Literal["off", "strict", "quality", "fixed", "auto", "soft"]
NAMED_THRESHOLDS: dict[str, tuple[FilterMode, float]] = {"strict": ("strict", STRICT), "quality": ("quality", QUALITY)}
REMEDY = "calibrate it (`vestigo calibrate --model FOLDER --data DATASET`), or give strict, quality or a threshold"


class FilterConfig(StrictModel):
    """Settings of the filter (docs/method.md, section "Thresholds")."""

    filter: str = Field(default="off", description="off, strict, quality, a threshold such as 0.9, auto or soft")
    filter_attributes: tuple[str, ...] = Field(default=(), description="attributes that may discard; none named = all")
    filter_max_conflicts: int = Field(default=0, ge=0, description="conflicts that a kept crop may have")
    max_lost: float = Field(default=0.01, gt=0, lt=1, description="auto: largest share of true matches to lose")


@dataclass(frozen=True, kw_only=True)
class FilterEstimate:
    """What a filter is expected to do on data like the calibration data."""

    kept_fraction: float  # share of other people's crops that it keeps
    miss_rate: float  # mean share of an identity's true matches that it discards
    identities: int  # n, identities that both were measured on


@dataclass(frozen=True, kw_only=True)
class FilterChoice:
    """A mode with its numbers."""

    mode: FilterMode  # the mode; `fixed` is a threshold given as a number
    threshold: float  # confidence from which a prediction is reliable; above 1 nothing is discarded
    names: tuple[str, ...] = ()  # attributes that count; none named = all
    max_conflicts: int = 0  # conflicts that a kept crop may have
    weight: float = 0.0  # `soft` adds it to the distance for each unit of `conflict_penalty`; 0 for other modes
    max_lost: float | None = None  # largest miss rate that `auto` was given; None for other modes
    bound: float | None = None  # (n L + 1) / (n + 1) with L the mean miss rate of n identities; None for other modes
    reason: str = ""  # why `auto` is off, or ""
    expected: FilterEstimate | None = None  # figures on data like the calibration data; None if not measured
    measured_on: str = ""  # the calibration data in words, or ""

    @property
    def guaranteed(self) -> bool:
        """Whether `auto` is on, so that `max_lost` holds on data like the calibration data."""
        return self.bound is not None and not self.reason

    @property
    def discards(self) -> bool:
        """Whether the filter can discard a crop at all."""
        return self.mode != "soft" and self.threshold <= 1

    @property
    def holds_for(self) -> str | None:
        """The data for which the bound on lost matches is guaranteed on average; None without a bound."""
        return self.measured_on if self.guaranteed else None

    def describe(self) -> str:
        """Return a sentence about the expected effect, which is never guaranteed for the data at hand."""
        if self.mode == "soft":
            return (
                f"Nothing is discarded; conflicting attributes add to the distance (weight {self.weight:g},"
                f" chosen on {self.measured_on}, not guaranteed here)."
            )
        if not self.discards:
            return f"The filter is off: {self.reason}." if self.reason else "The filter is off."
        if self.expected is None:
            return f"The effect of a filter at {self.threshold:g} was not measured for this model; not guaranteed here."
        effect = (
            f"At {self.threshold:g} about {_percent(self.expected.kept_fraction)} of other people's crops are kept and"
            f" about {_percent(self.expected.miss_rate)} of a person's true matches are lost"
        )
        source = f"{self.expected.identities} people of {self.measured_on}"
        if self.guaranteed and self.max_lost is not None:
            most = _percent(self.max_lost)
            return f"{effect}; on average at most {most} is guaranteed for people like {source}, not guaranteed here."
        return f"{effect}, measured on {source}; not guaranteed here."


def choose_filter(config: FilterConfig, calibration: Calibration | None) -> FilterChoice:
    """Resolve the settings of the filter for a model with the `calibration` of its package.

    Raises:
        ConfigError: If there is no such mode, a threshold is not above 0, or the mode needs a calibration that the
            package does not have.
    """
    mode = config.filter.strip().lower()
    names, max_conflicts = config.filter_attributes, config.filter_max_conflicts
    calibration = calibration or Calibration(measured_on="")
    record, soft, measured_on = calibration.filter, calibration.soft, calibration.measured_on
    if mode == "off":
        return FilterChoice(mode="off", threshold=OFF)
    if mode == "soft":
        if soft is None:
            raise ConfigError(f"filter soft: the model package has no calibration with a soft weight; {REMEDY}")
        return FilterChoice(
            mode="soft", threshold=soft.threshold, names=names, weight=soft.weight, measured_on=measured_on
        )
    if mode == "auto":
        if record is None:
            raise ConfigError(f"filter auto: the model package has no calibration of its filter; {REMEDY}")
        if (names, max_conflicts) not in (((), 0), (record.attributes, record.max_conflicts)):
            raise ConfigError(
                f"filter auto: calibrated with attributes {', '.join(record.attributes) or 'all'} and max conflicts"
                f" {record.max_conflicts}; leave filter_attributes and filter_max_conflicts out, or give a threshold"
            )
        return replace(choose_threshold(record, config.max_lost), measured_on=measured_on)
    fixed_mode, threshold = NAMED_THRESHOLDS.get(mode) or ("fixed", _parse_threshold(config.filter))
    expected = None
    # A curve is valid for its own attributes and conflicts only.
    if record and (set(record.attributes), record.max_conflicts) == (set(names), max_conflicts):
        expected = estimate_filter(record, threshold)
    return FilterChoice(
        mode=fixed_mode,
        threshold=threshold,
        names=names,
        max_conflicts=max_conflicts,
        expected=expected,
        measured_on=measured_on,
    )


def choose_threshold(record: FilterRecord, max_lost: float) -> FilterChoice:
    """Choose the smallest threshold whose bound is below the miss rate `max_lost`; without one the filter is off.

    Raises:
        ConfigError: If `max_lost` is not between 0 and 1.
    """
    if not 0 < max_lost < 1:
        raise ConfigError(f"max-lost {max_lost:g}: give a share of true matches between 0 and 1, such as 0.01")
    curve = record.curve
    at = curve.find_threshold(max_lost)
    # The least n with 1 / (n + 1) < max_lost; rounding removes errors such as 1 / 0.01 = 100.00000000000001.
    needed = floor(round(1 / max_lost, 9))
    reason = ""
    if curve.tau[at] > 1:
        reason = (
            f"{record.identities} identities cannot bound a loss of {max_lost:.3g}: at least {needed} are needed;"
            " calibrate on more identities or allow a larger loss"
            if record.identities < needed
            else f"no threshold keeps the loss below {max_lost:.3g} with certainty; allow a larger loss"
        )
    return FilterChoice(
        mode="auto",
        threshold=curve.tau[at],
        names=record.attributes,
        max_conflicts=record.max_conflicts,
        max_lost=max_lost,
        bound=curve.bound[at],
        reason=reason,
        expected=estimate_filter(record, curve.tau[at]),
    )


def estimate_filter(record: FilterRecord, threshold: float) -> FilterEstimate:
    """Read kept fraction and miss rate at a threshold; between two measured ones, the larger value of each."""
    curve = record.curve
    # No confidence is below the first measured threshold; above the last one the filter is off.
    below = max(bisect_right(curve.tau, threshold) - 1, 0)
    above = min(bisect_left(curve.tau, threshold), len(curve.tau) - 1)
    return FilterEstimate(
        kept_fraction=curve.kept[above],
        miss_rate=curve.loss[below] if threshold <= 1 else 0.0,
        identities=record.identities,
    )


def _parse_threshold(text: str) -> float:
    try:
        threshold = float(text)
    except ValueError:
        threshold = nan
    if not 0 < threshold < inf:
        raise ConfigError(f"filter {text!r}: give off, strict, quality, auto, soft or a threshold above 0 such as 0.9")
    return threshold


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
