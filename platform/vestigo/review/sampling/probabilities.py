"""Inclusion probabilities and systematic sampling (docs/method.md, section "Inclusion probabilities")."""

import numpy as np

from vestigo_models.arrays import BoolArray, Float64Array, Int64Array

CHANCE = 0.5
"""Share of the budget that is spread evenly over all tasks, whatever their scores. A smaller share widens the intervals
of the estimates and improves training hardly at all (`benchmarks/review.md`)."""


def inclusion_probabilities(
    scores: Float64Array, budget: int, *, sampled: BoolArray | None = None, chance: float = CHANCE
) -> Float64Array:
    """Compute the probability that each task is sampled.

    A task whose probability would exceed 1 is certain, and the others share the rest of the budget. See docs/method.md,
    section "Inclusion probabilities".

    Args:
        scores: (N,), at least 0, in any unit.
        budget: Number of tasks to sample.
        sampled: (N,), tasks of earlier samples. They get the probability that they would have had.
        chance: Share of the budget that does not depend on the scores, in 0..1.

    Returns:
        (N,) float64 in 0..1. The probabilities of the tasks not sampled before sum to `budget`.

    Raises:
        ValueError: If fewer than `budget` tasks are available, a score is negative or not finite, or `chance` is
            outside 0..1.
    """
    available = np.ones(len(scores), dtype=np.bool_) if sampled is None else ~sampled
    if not 0 <= budget <= available.sum():
        raise ValueError(f"budget={budget}: there are {available.sum()} tasks")
    if not 0 <= chance <= 1:
        raise ValueError(f"chance={chance} is outside 0..1")
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise ValueError("scores must be finite and at least 0")
    if budget in (0, available.sum()):
        return np.full(len(scores), float(budget > 0))
    even = np.full(len(scores), 1 / available.sum())
    sizes = chance * even + (1 - chance) * scores / scores[available].sum() if scores[available].any() else even
    ordered = np.sort(sizes[available])[::-1]
    # With the k largest certain, the others share budget - k in proportion to their sizes. The smallest k with which
    # none of them exceeds 1 is the solution.
    rest = np.cumsum(ordered[::-1])[::-1][: budget + 1]
    certain = np.arange(len(rest))
    fits = (budget - certain) * ordered[: budget + 1] <= rest
    first = int(fits.argmax())
    if rest[first] > 0:
        return np.asarray(np.minimum(1, (budget - first) / rest[first] * sizes), dtype=np.float64)
    # All remaining tasks have size 0.
    empty = sizes == 0
    return np.where(empty, (budget - first) / (available & empty).sum(), 1.0)


def combine_rounds(probabilities: Float64Array, annotated: Float64Array | None = None) -> Float64Array:
    """Compute the probability that each task was annotated in any of B rounds (Bankier, 1986; docs/method.md).

    `probabilities` (B, N) are those of each round in order, also of tasks that were sampled before; `annotated` (B,) is
    the share of each round's tasks that is annotated so far, in random order, by default all. The result, (N,) float64,
    is 1 - prod(1 - p) if everything is annotated.
    """
    open_before = np.cumprod(np.vstack([np.ones(probabilities.shape[1]), 1 - probabilities[:-1]]), axis=0)
    shares = np.ones(len(probabilities)) if annotated is None else annotated
    return np.asarray(shares @ (probabilities * open_before), dtype=np.float64)


def systematic_sample(
    probabilities: Float64Array, rng: np.random.Generator, *, sampled: BoolArray | None = None
) -> Int64Array:
    """Sample tasks with given inclusion probabilities, by systematic sampling in random order (Tillé, 2006).

    The tasks lie on a line, each as long as its probability. Points at distance 1 with a random start select tasks.

    Args:
        probabilities: (N,) in 0..1.
        rng: Source of the order and the start.
        sampled: (N,), tasks of earlier samples, which are not sampled again.

    Returns:
        Positions in ascending order; their number is the rounded sum of the probabilities.
    """
    possible = np.flatnonzero(probabilities > 0 if sampled is None else (probabilities > 0) & ~sampled)
    order = possible[rng.permutation(len(possible))]
    ends = np.cumsum(probabilities[order])
    count = round(float(ends[-1])) if len(ends) else 0
    points = rng.random() + np.arange(count)
    # Rounding errors of the sum can put the last point behind the end of the line.
    places = np.searchsorted(ends, points, side="right").clip(max=len(order) - 1)
    return np.sort(order[places]).astype(np.int64)
