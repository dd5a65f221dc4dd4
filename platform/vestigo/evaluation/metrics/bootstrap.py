"""Whether one model is better than another, or merely luckier: a paired bootstrap over identities.

Images of one person stand and fall together, so people are drawn again, with all their images, and never single
images or queries. Both models are judged on the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from vestigo.evaluation.metrics.ranking import SCORED, QueryScores
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

DRAWS = 2000
DRAWS_AT_ONCE = 200
"""Draws x identities numbers are held at a time."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how much the second model is better than the first, in percentage points.

    Attributes:
        low, high: 95 % interval (percentiles of the draws).
        chance: how often chance alone would go as far to either side, like a p-value: twice the share of draws on
            which the difference is not above 0, or not below, whichever is smaller, with the measured one counted as
            a draw. Small means that the difference is real.
        identities: people that were drawn.
    """

    difference: float
    low: float
    high: float
    chance: float
    identities: int


def compare_map(first: QueryScores, second: QueryScores, pids: NDArray[np.int64], *, seed: int = 0) -> Difference:
    """Compare the mAP of two models on the same queries with identities `pids` (Q,); unscored queries are left out.

    Raises:
        UsageError: fewer than two identities are scored.
    """
    scored = (first.status == SCORED) & (second.status == SCORED)
    return compare_means(first.ap[scored], second.ap[scored], pids[scored], seed=seed)


def compare_accuracies(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    pids: NDArray[np.int64],
    schema: AttributeSchema,
    *,
    seed: int = 0,
) -> dict[str, Difference | None]:
    """Compare the accuracies of two models on the same N images, attribute by attribute.

    Args:
        first, second: (N, n) bool, whether each prediction is right.
        counted: (N, n) bool, what counts: where it is labelled, or everything.
        pids: (N,) int64.

    Returns None for an attribute that counts on fewer than two identities.
    """
    found: dict[str, Difference | None] = {}
    for position, name in enumerate(schema.names):
        rows = counted[:, position]
        enough = len(np.unique(pids[rows])) > 1
        columns = first[rows, position].astype(np.float64), second[rows, position].astype(np.float64)
        found[name] = compare_means(*columns, pids[rows], seed=seed) if enough else None
    return found


def compare_means(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    pids: NDArray[np.int64],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Difference:
    """Compare the means (fractions) of two values of each of N items, drawing whole identities again.

    Raises:
        UsageError: fewer than two identities.
    """
    identities, whose = np.unique(pids, return_inverse=True)
    if len(identities) < 2:
        raise UsageError(f"two models can be compared on at least 2 identities, not on {len(identities)}")
    # The items of an identity always come together: their sum and their number are all that a draw needs.
    gains = np.asarray(np.bincount(whose, weights=second - first), dtype=np.float64)
    counts = np.asarray(np.bincount(whose), dtype=np.float64)

    def mean(gains: NDArray[np.floating], counts: NDArray[np.floating], axis: int = -1) -> NDArray[np.floating]:
        return np.asarray(gains.sum(axis=axis) / counts.sum(axis=axis))

    found = bootstrap(
        (gains, counts),
        mean,
        paired=True,
        vectorized=True,
        n_resamples=draws,
        batch=DRAWS_AT_ONCE,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    drawn = found.bootstrap_distribution
    return Difference(
        difference=100 * float(mean(gains, counts)),
        low=100 * float(found.confidence_interval.low),
        high=100 * float(found.confidence_interval.high),
        chance=min(1.0, 2 * (1 + int(min((drawn <= 0).sum(), (drawn >= 0).sum()))) / (1 + len(drawn))),
        identities=len(identities),
    )
