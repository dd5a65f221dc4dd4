"""Modes of the attribute filter: off, strict, quality, a threshold, auto or soft (docs/method.md, "Thresholds")."""

from dataclasses import replace
from math import inf, nan

from pydantic import Field

from vestigo_models.attribute_filter.choice import FilterChoice, FilterMode
from vestigo_models.attribute_filter.curve import OFF
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.attribute_filter.threshold import choose_threshold, estimate_filter
from vestigo_models.errors import ConfigError
from vestigo_models.strict_model import StrictModel

NAMED_THRESHOLDS: dict[str, tuple[FilterMode, float]] = {"strict": ("strict", STRICT), "quality": ("quality", QUALITY)}
REMEDY = "calibrate it (`vestigo calibrate --model FOLDER --data DATASET`), or give strict, quality or a threshold"


class FilterConfig(StrictModel):
    """Settings of the filter (docs/method.md, section "Thresholds")."""

    filter: str = Field(default="off", description="off, strict, quality, a threshold such as 0.9, auto or soft")
    filter_attributes: tuple[str, ...] = Field(default=(), description="attributes that may discard; none named = all")
    filter_max_conflicts: int = Field(default=0, ge=0, description="conflicts that a kept crop may have")
    max_lost: float = Field(default=0.01, gt=0, lt=1, description="auto: largest share of true matches to lose")


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


def _parse_threshold(text: str) -> float:
    try:
        threshold = float(text)
    except ValueError:
        threshold = nan
    if not 0 < threshold < inf:
        raise ConfigError(f"filter {text!r}: give off, strict, quality, auto, soft or a threshold above 0 such as 0.9")
    return threshold
