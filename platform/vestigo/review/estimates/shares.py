"""Estimate the share of correct crops with an interval (docs/method.md, section "Estimate and interval")."""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Floats = NDArray[np.float64]
TAIL = 0.975  # quantile at which a two-sided interval of 95 % ends
HALF_WIDTH = 0.03  # half of the width of an interval that is narrow enough


@dataclass(frozen=True, kw_only=True)
class ShareEstimate:
    """A share as a fraction of 1 with its 95 % interval `low` to `high`."""

    value: float
    low: float
    high: float
    reviewed: int  # number of annotated tasks
    # Number of tasks of a simple random sample with the same variance. It exceeds `reviewed` where the crops of a task
    # differ.
    effective: float


def estimate_share(correct: Floats, counted: Floats, probabilities: Floats) -> ShareEstimate | None:
    """Estimate the share of correct crops among the counted crops of all tasks, from n annotated tasks.

    Hájek's ratio estimator and variance (Tillé, 2006, section 7.5) with Wilson's interval and an effective sample size
    (Korn and Graubard, 1998); see docs/method.md, section "Estimate and interval".

    Args:
        correct: (n,), number of correct crops of each task.
        counted: (n,), number of crops of each task that count.
        probabilities: (n,) inclusion probabilities; the share is exact if all are 1.

    Returns:
        The estimate, or None if nothing counts.

    Raises:
        ValueError: If a probability is outside (0, 1].
    """
    if ((probabilities <= 0) | (probabilities > 1)).any():
        raise ValueError("a task's probability lies between 0 and 1")
    weights = 1 / probabilities
    total = float((weights * counted).sum())
    if total == 0:
        return None
    value = float((weights * correct).sum()) / total
    reviewed = int((counted > 0).sum())
    if (probabilities == 1).all():
        return ShareEstimate(value=value, low=value, high=value, reviewed=reviewed, effective=float(reviewed))
    variance = _variance(weights * (correct - value * counted), probabilities) / total**2
    effective = _kish_count(weights * counted)
    if variance > 0 and 0 < value < 1:
        rarer = min(_kish_count(weights[correct < counted]), _kish_count(weights[correct > 0]))
        crops = float(counted.sum()) * effective / reviewed
        effective = _limit_effective(value * (1 - value) / variance, effective, crops, rarer)
    low, high = _wilson(value, effective, float(stdtrit(max(1.0, min(effective, reviewed) - 1), TAIL)))
    return ShareEstimate(value=value, low=low, high=high, reviewed=reviewed, effective=effective)


def reviews_needed(estimate: ShareEstimate) -> int:
    """Estimate how many more tasks of the same sampling bring the interval to about +- `HALF_WIDTH`."""
    if (estimate.high - estimate.low) / 2 <= HALF_WIDTH:
        return 0
    spread = max(estimate.value * (1 - estimate.value), HALF_WIDTH * (1 - HALF_WIDTH))
    needed = float(ndtri(TAIL)) ** 2 * spread / HALF_WIDTH**2
    return max(1, ceil(needed * estimate.reviewed / estimate.effective) - estimate.reviewed)


def _variance(terms: Floats, probabilities: Floats) -> float:
    """Hájek's variance of a sum of n weighted terms of a sample of fixed size."""
    n = len(terms)
    shares = (1 - probabilities) * n / max(1, n - 1)
    if n < 2 or shares.sum() == 0:
        return 0.0
    middle = (shares * terms).sum() / shares.sum()
    return float((shares * (terms - middle) ** 2).sum())


def _kish_count(weights: Floats) -> float:
    """Effective number of weights (Kish, "Survey Sampling", 1965)."""
    return float(weights.sum()) ** 2 / float((weights**2).sum()) if len(weights) else 0.0


def _limit_effective(effective: float, tasks: float, crops: float, rarer: float) -> float:
    """Limit the effective sample size of a variance to how reliable the variance is.

    A size up to the number of `tasks` is accepted. A larger one comes from tasks whose crops differ, or from errors
    where the strategy sampled more. Its variance is known only as well as there are tasks with the `rarer` outcome, so
    it is reduced by Student's t and limited to the number of `crops`. All counts are Kish's. Half a degree of freedom
    for each task was determined by simulation (`benchmarks/review.md`).
    """
    reduced = effective * float(ndtri(TAIL) / stdtrit((rarer - 1) / 2, TAIL)) ** 2 if rarer >= 1.5 else 0.0
    return max(min(effective, tasks), min(reduced, crops))


def _wilson(value: float, count: float, z: float) -> tuple[float, float]:
    centre = (value + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(value * (1 - value) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
