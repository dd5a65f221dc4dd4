"""What a model package knows about its confidences and its filter: the `calibration` of its `config.json`."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from vestigo_models.attribute_filter.curve import FilterCurve
from vestigo_models.attribute_filter.temperature import COLDEST, HOTTEST
from vestigo_models.errors import ConfigError, key_path
from vestigo_models.strict_model import StrictModel

DIGITS = 6
BOUNDS = (0.01, 0.02, 0.05)
"""Largest miss rates whose thresholds a record states; its curve holds those of all others."""


class CurveRecord(StrictModel):
    """Miss rate and kept fraction of the filter at ascending thresholds; at the last one the filter is off."""

    tau: tuple[float, ...] = Field(min_length=1, description="thresholds, ascending")
    loss: tuple[float, ...] = Field(description="mean miss rate of an identity")
    bound: tuple[float, ...] = Field(description="(n loss + 1) / (n + 1): what conformal risk control compares")
    kept: tuple[float, ...] = Field(description="share of other people's crops that are kept")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not len(self.tau) == len(self.loss) == len(self.bound) == len(self.kept):
            raise ValueError("tau, loss, bound and kept must be equally long")
        if any(a >= b for a, b in pairwise(self.tau)) or self.tau[-1] <= 1:
            raise ValueError("tau must ascend and end above 1, where the filter is off")
        if any(a < b for values in (self.loss, self.bound) for a, b in pairwise(values)):
            raise ValueError("loss and bound must not rise with tau")
        if any(not 0 <= value <= 1 for values in (self.loss, self.bound, self.kept) for value in values):
            raise ValueError("loss, bound and kept are fractions from 0 to 1")
        return self

    def find_threshold(self, max_lost: float) -> int:
        """Return the position of the smallest threshold whose bound is below `max_lost`, else the last position.

        With "equal to" instead of "below", 1 / (n + 1) alone could suffice: 99 identities cannot bound 1 %.
        """
        holds = (at for at, bound in enumerate(self.bound) if bound < max_lost and self.tau[at] <= 1)
        return next(holds, len(self.tau) - 1)


class ThresholdRecord(StrictModel):
    """The threshold of `auto` for one largest miss rate, with figures from the curve, for readers of the file."""

    threshold: float = Field(gt=0, description="the smallest that holds the bound; above 1 the filter is off")
    identities: int = Field(ge=1, description="n, identities that the curve was measured on")
    kept_fraction: float = Field(ge=0, le=1, description="share of other people's crops that are kept")
    loss: float = Field(ge=0, le=1, description="mean miss rate of an identity")


class FilterRecord(StrictModel):
    """The measured filter; it is valid for these attributes and this number of conflicts only."""

    attributes: tuple[str, ...] = Field(default=(), description="attributes that the filter uses; none named = all")
    max_conflicts: int = Field(default=0, ge=0, description="conflicts that a kept crop may have")
    identities: int = Field(ge=1, description="n, identities that the curve was measured on")
    max_lost: dict[str, ThresholdRecord] = Field(description="largest miss rate -> threshold")
    curve: CurveRecord = Field(description="thresholds for any other largest miss rate")


class SoftRecord(StrictModel):
    """The soft filter, distance + weight x conflict penalty, chosen for the best mAP on validation identities."""

    weight: float = Field(ge=0, description="added to the distance for each unit of conflicting confidence")
    threshold: float = Field(gt=0, le=1, description="confidence from which an attribute can conflict")
    mAP: float = Field(ge=0, le=100, description="with it, percent")
    mAP_without: float = Field(ge=0, le=100, description="without any filter, percent")


class Calibration(StrictModel):
    """Temperatures of a model, and what the filter modes `auto` and `soft` need."""

    temperatures: dict[str, float] = Field(default={}, description="attribute -> temperature; none = 1")
    filter: FilterRecord | None = Field(default=None, description="miss rate and kept fraction of the filter")
    soft: SoftRecord | None = Field(default=None, description="weight of the soft filter")
    measured_on: str = Field(description="data and split, in words")

    @model_validator(mode="after")
    def _check_temperatures(self) -> Self:
        if odd := {name: t for name, t in self.temperatures.items() if not COLDEST <= t <= HOTTEST}:
            raise ValueError(f"temperatures lie between {COLDEST} and {HOTTEST}, found {odd}")
        return self

    @classmethod
    def read(cls, data: Mapping[str, Any] | None) -> Self | None:
        """Read the `calibration` of a package; None if the package has none.

        Raises:
            ConfigError: If the data are invalid; one line names the first wrong key.
        """
        if data is None:
            return None
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = key_path(("calibration", *first["loc"]))
            raise ConfigError(f"{key}: {first['msg']}; calibrate the model again") from None


def record_filter(curve: FilterCurve, names: Sequence[str] = (), max_conflicts: int = 0) -> FilterRecord:
    """Round a curve, measured with `names` and `max_conflicts`, and state thresholds for the miss rates `BOUNDS`."""
    identities = len(curve.pids)
    loss = curve.miss_rates.mean(axis=0)
    bound = (identities * loss + 1) / (identities + 1)
    # Rounded upwards, so that it still holds. 1e-9 removes what the division alone put above a round number.
    raised = np.ceil((bound - 1e-9) * 10**DIGITS) / 10**DIGITS
    record = CurveRecord(
        tau=tuple(curve.thresholds.tolist()),
        loss=tuple(loss.round(DIGITS).tolist()),
        bound=tuple(np.minimum(raised, 1.0).tolist()),
        kept=tuple(curve.kept_fractions.round(DIGITS).tolist()),
    )
    thresholds = {}
    for max_lost in BOUNDS:
        at = record.find_threshold(max_lost)
        thresholds[f"{max_lost:g}"] = ThresholdRecord(
            threshold=record.tau[at], identities=identities, kept_fraction=record.kept[at], loss=record.loss[at]
        )
    return FilterRecord(
        attributes=tuple(names), max_conflicts=max_conflicts, identities=identities, max_lost=thresholds, curve=record
    )
