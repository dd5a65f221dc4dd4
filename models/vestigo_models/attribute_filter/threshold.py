"""The threshold of the filter with a bound on what it loses: conformal risk control over identities (Angelopoulos et
al., "Conformal Risk Control", ICLR 2024, theorem 1).

Of n identities with losses L_i(tau) that fall with tau and never exceed 1, the smallest tau with
(n mean L(tau) + 1) / (n + 1) <= alpha loses, on average over calibrations and over one more identity exchangeable
with them, at most alpha. Pairs are no unit of this: they share identities. Temperatures and everything else that was
fitted must come from other identities, or the new one is not like the old ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from vestigo_models.attribute_filter.record import FilterRecord, smallest
from vestigo_models.errors import ConfigError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ThresholdChoice:
    """The answer of `auto`.

    Attributes:
        threshold: above 1 the filter is off.
        max_lost: alpha, the largest share of true matches to lose.
        identities: n.
        loss: mean loss of the n identities at the threshold.
        bound: (n loss + 1) / (n + 1).
        kept_fraction: share of other people's crops that the filter leaves.
        guaranteed: a filter is on and its bound is below `max_lost`.
        reason: why the filter is off, or "".
        taus, losses, kept: (T,) float64, the curve that was chosen from.
    """

    threshold: float
    max_lost: float
    identities: int
    loss: float
    bound: float
    kept_fraction: float
    guaranteed: bool
    reason: str
    taus: Doubles
    losses: Doubles
    kept: Doubles


@dataclass(frozen=True, kw_only=True)
class ExpectedCost:
    """What a filter is expected to cost on data like the calibration's (fractions): what it keeps of other people's
    crops, and which share of a person's true matches it loses."""

    threshold: float
    kept_fraction: float
    lost: float
    identities: int


def choose_threshold(record: FilterRecord, max_lost: float) -> ThresholdChoice:
    """Choose the smallest threshold whose bound is below `max_lost`; off, with a reason, where there is none.

    Raises:
        ConfigError: `max_lost` is no share between 0 and 1.
    """
    if not 0 < max_lost < 1:
        raise ConfigError(f"max-lost {max_lost:g}: give a share of true matches between 0 and 1, such as 0.01")
    curve = record.curve
    at = smallest(curve, max_lost)
    on = curve.tau[at] <= 1
    # The least n with 1 / (n + 1) < alpha; rounding guards 1 / 0.01 = 100.00000000000001 and its like.
    needed = floor(round(1 / max_lost, 9))
    if on:
        reason = ""
    elif record.identities < needed:
        reason = (
            f"{record.identities} identities cannot bound a loss of {max_lost:.3g}: at least {needed} are needed;"
            " calibrate on more identities or allow a larger loss"
        )
    else:
        reason = f"no threshold keeps the loss below {max_lost:.3g} with certainty; allow a larger loss"
    return ThresholdChoice(
        threshold=curve.tau[at],
        max_lost=max_lost,
        identities=record.identities,
        loss=curve.loss[at],
        bound=curve.bound[at],
        kept_fraction=curve.kept[at],
        guaranteed=on,
        reason=reason,
        taus=np.array(curve.tau),
        losses=np.array(curve.loss),
        kept=np.array(curve.kept),
    )


def expected_cost(record: FilterRecord, threshold: float) -> ExpectedCost:
    """Read the cost of a threshold from the curve; between two measured ones, the dearer reading of each figure."""
    curve = record.curve
    # Below the first measured threshold no confidence lies; above the last one the filter is off.
    below = max(bisect_right(curve.tau, threshold) - 1, 0)
    above = min(bisect_left(curve.tau, threshold), len(curve.tau) - 1)
    return ExpectedCost(
        threshold=threshold,
        kept_fraction=curve.kept[above],
        lost=curve.loss[below] if threshold <= 1 else 0.0,
        identities=record.identities,
    )
