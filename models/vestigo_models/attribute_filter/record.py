"""What a model package knows about its attributes and its filter: the `calibration` of its `config.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vestigo_models.attribute_filter.curve import FilterCurve
from vestigo_models.attribute_filter.temperature import COLDEST, HOTTEST
from vestigo_models.errors import ConfigError

DIGITS = 6
BOUNDS = (0.01, 0.02, 0.05)
"""The shares of true matches that a record answers in so many words; its curve answers any other."""


class CurveRecord(BaseModel):
    """Loss and kept share of the filter at ascending thresholds, the last of them off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tau: tuple[float, ...] = Field(min_length=1, description="thresholds, ascending")
    loss: tuple[float, ...] = Field(description="mean share of its true matches that an identity loses")
    bound: tuple[float, ...] = Field(description="(n loss + 1) / (n + 1): what conformal risk control compares")
    kept: tuple[float, ...] = Field(description="share of other people's crops that are kept")

    @model_validator(mode="after")
    def _is_a_curve(self) -> CurveRecord:
        if not len(self.tau) == len(self.loss) == len(self.bound) == len(self.kept):
            raise ValueError("tau, loss, bound and kept must be equally long")
        if any(a >= b for a, b in pairwise(self.tau)) or self.tau[-1] <= 1:
            raise ValueError("tau must ascend and end above 1, where the filter is off")
        if any(a < b for values in (self.loss, self.bound) for a, b in pairwise(values)):
            raise ValueError("loss and bound must not rise with tau")
        if any(not 0 <= value <= 1 for values in (self.loss, self.bound, self.kept) for value in values):
            raise ValueError("loss, bound and kept are fractions from 0 to 1")
        return self


class ThresholdRecord(BaseModel):
    """The answer of `auto` for one share of true matches: figures for people to read, taken from the curve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(gt=0, description="the smallest that holds the bound; above 1 the filter is off")
    identities: int = Field(ge=1, description="n, how many identities stand behind it")
    kept_fraction: float = Field(ge=0, le=1, description="share of other people's crops that are kept")
    loss: float = Field(ge=0, le=1, description="mean share of its true matches that an identity lost")


class FilterRecord(BaseModel):
    """The filter as it was measured; it holds for these attributes and this number of conflicts only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attributes: tuple[str, ...] = Field(default=(), description="attributes that the filter uses; none named = all")
    max_conflicts: int = Field(default=0, ge=0, description="conflicts that a crop may have and stay")
    identities: int = Field(ge=1, description="n, identities that the curve was measured on")
    max_lost: dict[str, ThresholdRecord] = Field(description="largest share of true matches to lose -> threshold")
    curve: CurveRecord = Field(description="answers any other share")


class SoftRecord(BaseModel):
    """The soft filter: distance + weight x conflict penalty, chosen for the best mAP on validation identities."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(ge=0, description="added to the distance for each unit of conflicting confidence")
    threshold: float = Field(gt=0, le=1, description="confidence from which an attribute can conflict")
    mAP: float = Field(ge=0, le=100, description="with it, percent")
    mAP_without: float = Field(ge=0, le=100, description="without any filter, percent")


class Calibration(BaseModel):
    """Everything that `auto` and `soft` read from a model package."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperatures: dict[str, float] = Field(default={}, description="attribute -> temperature; none = 1")
    filter: FilterRecord | None = Field(default=None, description="what the filter loses and keeps")
    soft: SoftRecord | None = Field(default=None, description="weight of the soft filter")
    measured_on: str = Field(description="data and split, in words")

    @model_validator(mode="after")
    def _temperatures_are_possible(self) -> Calibration:
        odd = {name: t for name, t in self.temperatures.items() if not COLDEST <= t <= HOTTEST}
        if odd:
            raise ValueError(f"temperatures lie between {COLDEST} and {HOTTEST}, found {odd}")
        return self

    @classmethod
    def read(cls, data: Mapping[str, Any] | None) -> Calibration | None:
        """Read the `calibration` of a package; None where the package has none.

        Raises:
            ConfigError: one line that names the first key that is wrong.
        """
        if data is None:
            return None
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            what = error.errors()[0]
            where = ".".join(["calibration", *map(str, what["loc"])])
            raise ConfigError(f"{where}: {what['msg']}; calibrate the model again") from None


def record_curve(curve: FilterCurve) -> CurveRecord:
    """Round a measured curve for the record: bounds upwards, so that a rounded one still holds."""
    identities = len(curve.pids)
    loss = curve.losses.mean(axis=0)
    bound = (identities * loss + 1) / (identities + 1)
    # 1e-9 takes back what the division alone put above a round number.
    raised = np.ceil((bound - 1e-9) * 10**DIGITS) / 10**DIGITS
    return CurveRecord(
        tau=tuple(curve.taus.tolist()),
        loss=tuple(loss.round(DIGITS).tolist()),
        bound=tuple(np.minimum(raised, 1.0).tolist()),
        kept=tuple(curve.kept.round(DIGITS).tolist()),
    )


def record_filter(
    curve: FilterCurve, names: Sequence[str] = (), max_conflicts: int = 0, bounds: Sequence[float] = BOUNDS
) -> FilterRecord:
    """Record a curve measured with these attributes and conflicts, with its answers for some `bounds`."""
    record = record_curve(curve)
    identities = len(curve.pids)
    answers = {}
    for bound in bounds:
        at = smallest(record, bound)
        answers[f"{bound:g}"] = ThresholdRecord(
            threshold=record.tau[at], identities=identities, kept_fraction=record.kept[at], loss=record.loss[at]
        )
    return FilterRecord(
        attributes=tuple(names), max_conflicts=max_conflicts, identities=identities, max_lost=answers, curve=record
    )


def smallest(curve: CurveRecord, max_lost: float) -> int:
    """Where the smallest threshold stands whose bound is below `max_lost`; at the end, off, where there is none.

    Below, not equal: then 1 / (n + 1) alone never suffices, and 99 identities promise nothing about 1 %.
    """
    holds = [at for at, bound in enumerate(curve.bound) if bound < max_lost and curve.tau[at] <= 1]
    return holds[0] if holds else len(curve.tau) - 1
