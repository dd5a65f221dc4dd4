"""What reviewed tasks tell of all tasks: shares with intervals, unbiased by how the tasks were chosen.

Every reviewed task stands for 1 / its probability tasks (Hajek's ratio estimator); the variance is Hajek's
approximation for draws of a fixed size (Tille, "Sampling Algorithms", 2006, section 7.5). Intervals are Wilson's with
the number of reviews that a simple draw would have needed for that variance (after Korn and Graubard, Survey
Methodology 24, 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A share, fractions of 1.

    Attributes:
        value: the estimate.
        low, high: its interval.
        reviewed: tasks that it rests on.
        effective: reviews of a simple draw that would tell as much; more than `reviewed` where the parts of a task
            differ, so that one review tells several things.
    """

    value: float
    low: float
    high: float
    reviewed: int
    effective: float


def estimate_share(right: Floats, counted: Floats, probabilities: Floats, *, level: float = LEVEL) -> Estimate | None:
    """The share of what is right among what counts, in all tasks, from n reviewed ones.

    right, counted: n, how much of each reviewed task is right, and how much of it counts (its crops, or 1, or 0);
    probabilities: n, how likely each was drawn; where all were certain the share is known. None where nothing counts.

    Raises ValueError for a probability outside (0, 1]: a task that could not be drawn stands for nothing.
    """
    if ((probabilities <= 0) | (probabilities > 1)).any():
        raise ValueError("a task's probability lies between 0 and 1")
    weights = 1 / probabilities
    total = float((weights * counted).sum())
    if total == 0:
        return None
    value = float((weights * right).sum()) / total
    reviewed = int((counted > 0).sum())
    variance = _variance(weights * (right - value * counted), probabilities) / total**2
    if (probabilities == 1).all():
        return Estimate(value=value, low=value, high=value, reviewed=reviewed, effective=float(reviewed))
    effective = _count(weights * counted)
    if variance > 0 and 0 < value < 1:
        odd = min(_count(weights[right < counted]), _count(weights[right > 0]))
        crops = float(counted.sum()) * effective / reviewed
        effective = _believed(value * (1 - value) / variance, effective, crops, odd, level)
    low, high = _wilson(value, effective, _quantile(level, min(effective, reviewed)))
    return Estimate(value=value, low=low, high=high, reviewed=reviewed, effective=effective)


def reviews_needed(estimate: Estimate, half_width: float = 0.03, *, level: float = LEVEL) -> int:
    """How many more reviews, chosen like those so far, bring the interval to about +- `half_width`; 0 where it is."""
    if (estimate.high - estimate.low) / 2 <= half_width:
        return 0
    spread = max(estimate.value * (1 - estimate.value), half_width * (1 - half_width))
    wanted = float(ndtri((1 + level) / 2)) ** 2 * spread / half_width**2
    return max(1, ceil(wanted * estimate.reviewed / estimate.effective) - estimate.reviewed)


def _variance(terms: Floats, probabilities: Floats) -> float:
    """Of a sum of n weighted terms over a draw of fixed size."""
    n = len(terms)
    shares = (1 - probabilities) * n / max(1, n - 1)
    if n < 2 or shares.sum() == 0:
        return 0.0
    middle = (shares * terms).sum() / shares.sum()
    return float((shares * (terms - middle) ** 2).sum())


def _count(weights: Floats) -> float:
    """How many equal weights would vary as little as these (Kish, "Survey Sampling", 1965)."""
    return float(weights.sum()) ** 2 / float((weights**2).sum()) if len(weights) else 0.0


def _believed(found: float, tasks: float, crops: float, odd: float, level: float) -> float:
    """Reviews of a simple draw with the variance that was `found`, as far as that can be believed.

    No more than there are `tasks` needs no belief. More come from tasks whose crops differ, and from errors where they
    were looked for; but such a variance is known only as well as there are tasks with the rarer answer, `odd`, and
    Student's t widens what rests on few. All are counted as equal weights would be: a rare error that stands for many
    tasks is otherwise missed together with its variance. Half a degree of freedom a task was found by simulation
    (`benchmarks/review.md`).
    """
    tail = (1 + level) / 2
    believed = found * float(ndtri(tail) / stdtrit((odd - 1) / 2, tail)) ** 2 if odd >= 1.5 else 0.0
    return max(min(found, tasks), min(believed, crops))


def _quantile(level: float, effective: float) -> float:
    return float(stdtrit(max(1.0, effective - 1), (1 + level) / 2))


def _wilson(value: float, count: float, z: float) -> tuple[float, float]:
    centre = (value + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(value * (1 - value) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
