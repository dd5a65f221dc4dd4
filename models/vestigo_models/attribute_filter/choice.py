"""A choice of the attribute filter: its mode with the numbers, and what it is expected to do."""

from dataclasses import dataclass
from typing import Literal

FilterMode = Literal["off", "strict", "quality", "fixed", "auto", "soft"]


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


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
