"""Confidence interval of a mean over items of which those of one identity are not independent."""

from __future__ import annotations

import numpy as np

from vestigo_models.arrays import Float64Array, Int64Array

QUANTILE = 1.959964
"""Of the normal distribution, for 95 %."""


def mean_interval(values: Float64Array, pids: Int64Array) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of N fractions, clipped to 0 and 1; None for fewer than two identities.

    Identities are sampled with all of their items, so the mean is a ratio of two sums over identities; its variance is
    the linearised one (Cochran, Sampling Techniques, 3rd edition 1977, equation 6.13 without the finite population).
    """
    _, codes, counts = np.unique(pids, return_inverse=True, return_counts=True)
    number = len(counts)
    if number < 2:
        return None
    mean = float(values.mean())
    residuals = np.bincount(codes, weights=values) - mean * counts
    error = float(np.sqrt((residuals**2).sum() * number / (number - 1))) / len(values)
    return max(0.0, mean - QUANTILE * error), min(1.0, mean + QUANTILE * error)
