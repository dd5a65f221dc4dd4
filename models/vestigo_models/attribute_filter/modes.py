"""The modes of the attribute filter: from `off | strict | quality | TAU | auto | soft` to one frozen choice.

Whoever filters sees what it is expected to cost: a choice carries its cost and says it in a sentence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vestigo_models.attribute_filter.curve import OFF
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.attribute_filter.threshold import ExpectedCost, choose_threshold, expected_cost
from vestigo_models.errors import ConfigError

FilterMode = Literal["off", "strict", "quality", "fixed", "auto", "soft"]
REMEDY = "calibrate it (`vestigo calibrate --model FOLDER --data DATASET`), or give strict, quality or a threshold"


class FilterConfig(BaseModel):
    """Keys of specification section 11 about the filter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filter: str = Field(default="off", description="off, strict, quality, a threshold such as 0.9, auto or soft")
    filter_attributes: tuple[str, ...] = Field(default=(), description="attributes that may discard; none named = all")
    filter_max_conflicts: int = Field(default=0, ge=0, description="conflicts that a crop may have and stay")
    max_lost: float = Field(default=0.01, gt=0, lt=1, description="auto: largest share of true matches to lose")


@dataclass(frozen=True, kw_only=True)
class FilterChoice:
    """What the filter does, decided.

    Attributes:
        mode: what was asked for; `fixed` is a threshold given as a number.
        threshold: confidence from which a prediction is reliable; above 1 nothing is discarded.
        names: attributes that may conflict, none named = all.
        max_conflicts: conflicts that a crop may have and stay.
        weight: of `soft`, which discards nothing: added to the distance for each unit of `conflict_penalty`; else 0.
        max_lost: what `auto` was asked to hold, else None.
        guaranteed: the threshold holds `max_lost` on data like the calibration's.
        reason: why `auto` switched the filter off, or "".
        cost: what it is expected to cost, None where nobody measured it.
        measured_on: the data that cost, weight and bound come from, or "".
    """

    mode: FilterMode
    threshold: float
    names: tuple[str, ...] = ()
    max_conflicts: int = 0
    weight: float = 0.0
    max_lost: float | None = None
    guaranteed: bool = False
    reason: str = ""
    cost: ExpectedCost | None = None
    measured_on: str = ""

    @property
    def discards(self) -> bool:
        """Whether the filter can discard a crop at all."""
        return self.mode != "soft" and self.threshold <= 1

    @property
    def holds_for(self) -> str | None:
        """The people for whom the bound on lost matches is guaranteed on average, None where there is no bound."""
        return self.measured_on if self.guaranteed else None

    def sentence(self) -> str:
        """Say what is expected of this filter. Nobody knows whether the people at hand are like the calibration's."""
        if self.mode == "soft":
            return (
                f"Nothing is discarded; conflicting attributes add to the distance (weight {self.weight:g},"
                f" chosen on {self.measured_on}, not guaranteed here)."
            )
        if not self.discards:
            return f"The filter is off: {self.reason}." if self.reason else "The filter is off."
        if self.cost is None:
            return f"What a filter at {self.threshold:g} costs was not measured for this model; not guaranteed here."
        expected = (
            f"At {self.threshold:g} about {_percent(self.cost.kept_fraction)} of other people's crops stay and about"
            f" {_percent(self.cost.lost)} of a person's true matches are lost"
        )
        source = f"{self.cost.identities} people of {self.measured_on}"
        if self.guaranteed and self.max_lost is not None:
            most = _percent(self.max_lost)
            return f"{expected}; on average at most {most} is guaranteed for people like {source}, not guaranteed here."
        return f"{expected}, measured on {source}; not guaranteed here."


def choose_filter(config: FilterConfig, calibration: Calibration | None) -> FilterChoice:
    """Decide what the filter does with a model whose `calibration` is that of its package.

    Raises:
        ConfigError: no such mode, a threshold that is not above 0, or a mode that needs a calibration without one.
    """
    mode = config.filter.strip().lower()
    if mode == "off":
        return FilterChoice(mode="off", threshold=OFF)
    if mode == "auto":
        return _auto(config, calibration)
    if mode == "soft":
        if calibration is None or calibration.soft is None:
            raise ConfigError(f"filter soft: the model package has no calibration with a soft weight; {REMEDY}")
        soft = calibration.soft
        return FilterChoice(
            mode="soft",
            threshold=soft.threshold,
            names=config.filter_attributes,
            weight=soft.weight,
            measured_on=calibration.measured_on,
        )
    if mode == "strict":
        return _fixed("strict", STRICT, config, calibration)
    if mode == "quality":
        return _fixed("quality", QUALITY, config, calibration)
    return _fixed("fixed", _threshold(config.filter), config, calibration)


def _fixed(mode: FilterMode, threshold: float, config: FilterConfig, calibration: Calibration | None) -> FilterChoice:
    record = calibration.filter if calibration else None
    # A curve tells nothing about a filter that looks at other attributes.
    known = record is not None and (set(record.attributes), record.max_conflicts) == (
        set(config.filter_attributes),
        config.filter_max_conflicts,
    )
    return FilterChoice(
        mode=mode,
        threshold=threshold,
        names=config.filter_attributes,
        max_conflicts=config.filter_max_conflicts,
        cost=expected_cost(record, threshold) if record is not None and known else None,
        measured_on=calibration.measured_on if calibration else "",
    )


def _auto(config: FilterConfig, calibration: Calibration | None) -> FilterChoice:
    """The calibrated filter, with the attributes and conflicts that it was calibrated for."""
    if calibration is None or calibration.filter is None:
        raise ConfigError(f"filter auto: the model package has no calibration of its filter; {REMEDY}")
    record = calibration.filter
    asked = (config.filter_attributes, config.filter_max_conflicts)
    if asked not in (((), 0), (record.attributes, record.max_conflicts)):
        raise ConfigError(
            f"filter auto: calibrated with attributes {', '.join(record.attributes) or 'all'} and max conflicts"
            f" {record.max_conflicts}; leave filter_attributes and filter_max_conflicts out, or give a threshold"
        )
    found = choose_threshold(record, config.max_lost)
    return FilterChoice(
        mode="auto",
        threshold=found.threshold,
        names=record.attributes,
        max_conflicts=record.max_conflicts,
        max_lost=config.max_lost,
        guaranteed=found.guaranteed,
        reason=found.reason,
        cost=expected_cost(record, found.threshold),
        measured_on=calibration.measured_on,
    )


def _threshold(text: str) -> float:
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not 0 < threshold < math.inf:
        raise ConfigError(f"filter {text!r}: give off, strict, quality, auto, soft or a threshold above 0 such as 0.9")
    return threshold


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
