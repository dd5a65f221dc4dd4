"""A draw whose probabilities are known, so that what was reviewed speaks for all (Tille, "Sampling Algorithms", 2006).

A task that can never be drawn says nothing of itself and nothing stands for it. Scores therefore share a draw with
chance: a part of every probability is the same for all tasks.

Draws follow each other. What was drawn before is not drawn again, and every draw tells how likely it would have been:
from all draws together follows how likely each task was drawn at all, whichever draw it came from (the single-frame
estimator: Bankier, "Estimators based on several stratified samples with applications to multiple frame surveys", 1986).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
CHANCE = 0.5
"""Share of a budget that scores have no say in: no task stands for more than twice as many as in a simple draw. With
less, what is learnt gains hardly anything and what is known of all tasks loses much (`benchmarks/review.md`)."""


def inclusion_probabilities(
    scores: Floats, budget: int, *, drawn: Flags | None = None, chance: float = CHANCE
) -> Floats:
    """How likely each of N tasks is drawn, N float64 in 0..1; those of the tasks not drawn before add up to `budget`.

    scores: N, not negative, in any unit; probabilities follow them apart from the share `chance`, which is even. A task
    that would be drawn more than once is drawn for certain, and the others share what that leaves.
    drawn: N, what earlier draws have taken; None is nothing. Its probability is what it would have been.

    Raises:
        ValueError: fewer tasks left than `budget`, a negative or endless score, or `chance` outside 0..1.
    """
    left = np.ones(len(scores), dtype=np.bool_) if drawn is None else ~drawn
    if not 0 <= budget <= left.sum():
        raise ValueError(f"budget={budget}: there are {left.sum()} tasks")
    if not 0 <= chance <= 1:
        raise ValueError(f"chance={chance}: a share of 1")
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise ValueError("scores are not negative, and numbers")
    if budget in (0, left.sum()):
        return np.full(len(scores), float(budget > 0))
    even = np.full(len(scores), 1 / left.sum())
    sizes = chance * even + (1 - chance) * scores / scores[left].sum() if scores[left].any() else even
    ordered = np.sort(sizes[left])[::-1]
    # With the k greatest certain, the rest share budget - k in proportion to their sizes; the smallest k with which
    # none of them goes above 1 is right.
    rest = np.cumsum(ordered[::-1])[::-1][: budget + 1]
    certain = np.arange(len(rest))
    fits = (budget - certain) * ordered[: budget + 1] <= rest
    first = int(fits.argmax())
    if rest[first] > 0:
        return np.asarray(np.minimum(1, (budget - first) / rest[first] * sizes), dtype=np.float64)
    # All that is left has no size.
    none = sizes == 0
    return np.where(none, (budget - first) / (left & none).sum(), 1.0)


def combined(probabilities: Floats, reviewed: Floats | None = None) -> Floats:
    """How likely each of N tasks was reviewed after B draws, N float64, whichever of them it came from.

    probabilities: B x N, of each draw in its order, also those of tasks that had been drawn before.
    reviewed: B, the share of each draw's tasks that has been reviewed so far, chosen by chance; None is all of each.
    Then it is 1 - prod(1 - p). A task that waits for its review is not drawn again either.
    """
    open_before = np.cumprod(np.vstack([np.ones(probabilities.shape[1]), 1 - probabilities[:-1]]), axis=0)
    shares = np.ones(len(probabilities)) if reviewed is None else reviewed
    return np.asarray(shares @ (probabilities * open_before), dtype=np.float64)


def draw(probabilities: Floats, rng: np.random.Generator, *, drawn: Flags | None = None) -> NDArray[np.int64]:
    """Draw tasks: their places in ascending order, each with its probability, and always as many as those add up to.

    Systematic sampling in a random order: all tasks lie one after the other on a line, each as long as its probability,
    and one comb with teeth at distance 1 falls on it. What was drawn before (N bool) does not lie there.
    """
    possible = np.flatnonzero(probabilities > 0 if drawn is None else (probabilities > 0) & ~drawn)
    order = possible[rng.permutation(len(possible))]
    ends = np.cumsum(probabilities[order])
    count = round(float(ends[-1])) if len(ends) else 0
    teeth = rng.random() + np.arange(count)
    # Sums of floats end a little before or behind a whole number: the last tooth may fall beside the line.
    places = np.searchsorted(ends, teeth, side="right").clip(max=len(order) - 1)
    return np.sort(order[places]).astype(np.int64)
