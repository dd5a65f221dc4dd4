"""Compare two models by a paired bootstrap over identities, as in docs/method.md, "Promotion gate".

The images of one identity are not independent, so identities are resampled with all their images, never single images
or queries. Both models are compared on the same resamples.
"""

from dataclasses import dataclass

import numpy as np

from vestigo.evaluation.metrics.ranking import SCORED, QueryScores
from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int64Array
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

RESAMPLES = 2000
RESAMPLES_AT_ONCE = 200
"""Memory is this many times the number of identities."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """By how much the second model is better than the first, in percentage points."""

    difference: float
    low: float  # 95 % interval to `high` (percentiles of the resamples)
    high: float
    # Two-sided p-value: twice the share of resamples in which the difference is not above 0, or not below, whichever is
    # smaller, with the measured difference counted as a resample
    chance: float
    identities: int


def compare_map(first: QueryScores, second: QueryScores, pids: Int64Array) -> Difference:
    """Compare the mAP of two models on the same queries with identities `pids` (Q,); unscored queries do not count."""
    scored = (first.status == SCORED) & (second.status == SCORED)
    return compare_means(first.ap[scored], second.ap[scored], pids[scored])


def compare_accuracies(
    first: BoolArray, second: BoolArray, pids: Int64Array, schema: AttributeSchema
) -> dict[str, Difference | None]:
    """Compare the accuracies of two models on the same N images with identities `pids`, attribute by attribute.

    `first` and `second` (N, n) mark correct predictions. None for fewer than two identities.
    """
    if len(np.unique(pids)) < 2:
        return dict.fromkeys(schema.names)
    before, after = first.T.astype(np.float64), second.T.astype(np.float64)
    return {name: compare_means(before[position], after[position], pids) for position, name in enumerate(schema.names)}


def compare_means(
    first: Float64Array, second: Float64Array, pids: Int64Array, *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Compare the means of two fractions of each of N items, resampling identities `pids` (N,).

    Raises:
        UsageError: If there are fewer than two identities.
    """
    identities, positions = np.unique(pids, return_inverse=True)
    if len(identities) < 2:
        raise UsageError(f"two models can be compared on at least 2 identities, not on {len(identities)}")
    # The items of an identity are always resampled together: a resample needs their sum and their number only.
    gains = np.asarray(np.bincount(positions, weights=second - first), dtype=np.float64)
    counts = np.asarray(np.bincount(positions), dtype=np.float64)

    from scipy.stats import bootstrap  # takes a second to import

    def mean(gains: FloatArray, counts: FloatArray, axis: int = -1) -> FloatArray:
        return np.asarray(gains.sum(axis=axis) / counts.sum(axis=axis))

    result = bootstrap(
        (gains, counts),
        mean,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=RESAMPLES_AT_ONCE,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    resampled = result.bootstrap_distribution
    return Difference(
        difference=100 * float(mean(gains, counts)),
        low=100 * float(result.confidence_interval.low),
        high=100 * float(result.confidence_interval.high),
        chance=min(1.0, 2 * (1 + int(min((resampled <= 0).sum(), (resampled >= 0).sum()))) / (1 + len(resampled))),
        identities=len(identities),
    )
