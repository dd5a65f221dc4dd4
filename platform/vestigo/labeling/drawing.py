"""A draw whose probabilities are known, so that what was reviewed speaks for all (Tille, "Sampling Algorithms", 2006).

A task that can never be drawn says nothing of itself and nothing stands for it. Scores therefore share a draw with
chance: a part of every probability is the same for all tasks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CHANCE = 0.3
"""Share of a budget that scores have no say in."""


def inclusion_probabilities(scores: Floats, budget: int, *, chance: float = CHANCE) -> Floats:
    """How likely each of N tasks is drawn, N float64 in 0..1 that add up to `budget`.

    scores: N, not negative, in any unit; probabilities follow them apart from the share `chance`, which is even. A task
    that would be drawn more than once is drawn for certain, and the others share what that leaves.

    Raises:
        ValueError: fewer tasks than `budget`, a negative or endless score, or `chance` outside 0..1.
    """
    if not 0 <= budget <= len(scores):
        raise ValueError(f"budget={budget}: there are {len(scores)} tasks")
    if not 0 <= chance <= 1:
        raise ValueError(f"chance={chance}: a share of 1")
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise ValueError("scores are not negative, and numbers")
    even = np.full(len(scores), 1 / max(1, len(scores)))
    sizes = even if not scores.any() else chance * even + (1 - chance) * scores / scores.sum()
    probabilities = np.zeros(len(scores))
    open_ = np.ones(len(scores), dtype=np.bool_)
    while open_.any():
        left = budget - int((~open_).sum())
        total = sizes[open_].sum()
        shares = left * sizes[open_] / total if total > 0 else np.full(int(open_.sum()), left / open_.sum())
        if (shares <= 1).all():
            probabilities[open_] = shares
            break
        certain = np.flatnonzero(open_)[shares > 1]
        probabilities[certain] = 1
        open_[certain] = False
    return probabilities


def draw(probabilities: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw tasks: their places in ascending order, each with its probability, and always as many as those add up to.

    Systematic sampling in a random order: all tasks lie one after the other on a line, each as long as its probability,
    and one comb with teeth at distance 1 falls on it.
    """
    order = rng.permutation(len(probabilities))
    ends = np.cumsum(probabilities[order])
    count = round(float(ends[-1])) if len(ends) else 0
    teeth = rng.random() + np.arange(count)
    # Sums of floats end a little before or behind a whole number: the last tooth may fall beside the line.
    places = np.searchsorted(ends, teeth, side="right").clip(max=len(probabilities) - 1)
    return np.sort(order[places]).astype(np.int64)
