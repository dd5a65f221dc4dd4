"""Differences between two configurations, paired over seeds and over the identities that both are judged on.

Identities and seeds are crossed: every seed is judged on every identity. The mean difference has a part of its variance
from the identities and a part from the seeds. Each part gives a half width with Student's t of its own degrees of
freedom, and the squares of the half widths are added (modified large-sample interval: Graybill and Wang, JASA 1980).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from vestigo_models.arrays import Float64Array

Result = Mapping[str, Any]
Results = Mapping[str, Mapping[int, Result]]
"""Configuration -> seed -> result."""
Table = dict[str, Any]

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of a result, in percent, and its parts.

    Attributes:
        read: Returns the figure, None if the result has none.
        sums: Returns, of the content of `identities.json`, the sum of the figure over the images of each identity.
        side: Key of the images that are counted, `retrieval` or `attributes`.
    """

    read: Callable[[Result], float | None]
    sums: Callable[[Mapping[str, Any]], Sequence[float]]
    side: str


def spread(values: Iterable[float | None]) -> Table | None:
    """Return `mean`, `sd` (sample standard deviation, None for one value) and `n` of the known values."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "sd": sd, "n": len(known)}


def paired_difference(results: Results, config: str, base: str | None, measure: Measure) -> Table | None:
    """Return how much `config` is above `base`, paired over the seeds that both have.

    Returns:
        `mean`, `sd` and `n` over seeds, and `low` and `high`, the 95 % interval for other identities and seeds. With
        one seed the interval holds the chance of the identities alone. It is None without at least two identities, or
        if a result does not have them (those of earlier versions).
    """
    ours, theirs = results.get(config, {}), results.get(base or "", {})
    seeds = [
        seed
        for seed in sorted(ours.keys() & theirs.keys())
        if measure.read(ours[seed]) is not None and measure.read(theirs[seed]) is not None
    ]
    difference = spread((measure.read(ours[seed]) or 0.0) - (measure.read(theirs[seed]) or 0.0) for seed in seeds)
    if difference is None:
        return None
    low, high = _interval([(ours[seed], theirs[seed]) for seed in seeds], measure)
    return {**difference, "low": low, "high": high}


def _interval(pairs: Sequence[tuple[Result, Result]], measure: Measure) -> tuple[float | None, float | None]:
    sides = [(result.get("identities") or {}).get(measure.side) for pair in pairs for result in pair]
    first = sides[0]
    if first is None or any(
        side is None or side["pids"] != first["pids"] or side["images"] != first["images"] for side in sides
    ):
        return None, None
    if len(first["pids"]) < 2:
        return None, None
    sums = np.array([[measure.sums(result["identities"]) for result in pair] for pair in pairs], dtype=np.float64)
    return crossed_interval(sums[:, 0] - sums[:, 1], np.array(first["images"], dtype=np.float64))


def crossed_interval(gains: Float64Array, images: Float64Array) -> tuple[float, float]:
    """Return the 95 % interval of a mean over images.

    Args:
        gains: (S, I) sums over the images of each of at least two identities, with each of S seeds.
        images: (I,) numbers of images of the identities.
    """
    seeds, identities = gains.shape
    mean = gains.sum() / (seeds * images.sum())
    # Linearised ratio: their mean is 0, and an identity counts by its images.
    parts = (gains - mean * images) / images.mean()
    by_identity, by_seed = parts.mean(axis=0), parts.mean(axis=1)
    square = _student(identities) ** 2 * by_identity.var(ddof=1) / identities
    if seeds > 1:
        rest = parts - by_identity - by_seed[:, None]
        # The variance between seeds also holds what is left of the identities', which is counted already.
        of_rest = (rest**2).sum() / ((identities - 1) * (seeds - 1)) / (identities * seeds)
        square += _student(seeds) ** 2 * max(by_seed.var(ddof=1) / seeds - of_rest, 0.0)
    half = math.sqrt(square)
    return float(mean - half), float(mean + half)


def _student(values: int) -> float:
    """Return the quantile of Student's t for the mean of a number of values."""
    return float(student_t.ppf((1 + CONFIDENCE) / 2, values - 1))
