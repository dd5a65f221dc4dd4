"""Query-gallery distances, a chunk of queries at a time (specification section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vestigo_models.distance import Descriptors

Metric = Literal["cosine", "euclidean"]
Features = NDArray[np.floating] | Descriptors
"""(N, D) features, or descriptors, which equation 14 compares whatever the metric."""
Doubles = NDArray[np.float64]

TIE_DECIMALS = 10
"""Distances are rounded here: equal vectors must tie, but a matrix product may sum the columns of one matrix in
different orders, which parts equal vectors by some 1e-16."""


def distance_chunks(
    query: Features, gallery: Features, *, metric: Metric = "cosine", chunk: int = 256
) -> Iterator[Doubles]:
    """Yield distances in chunks of queries, in order; memory beyond the inputs is O(chunk x G + G x D).

    Args:
        query: Q of them.
        gallery: G of them.
        metric: `cosine` is 1 - cos (a zero vector has distance 1 to everything), `euclidean` is not squared;
            descriptors are compared by equation 14.
        chunk: queries a chunk.

    Yields:
        (c, G) float64, c <= chunk.
    """
    left, right = comparable(query, metric), comparable(gallery, metric)
    for start in range(0, len(left), chunk):
        some = left[start : start + chunk]
        if isinstance(some, Parts) and isinstance(right, Parts):
            yield some.distances(right)
        elif isinstance(some, Vectors) and isinstance(right, Vectors):
            if metric == "cosine" or not isinstance(query, np.ndarray):
                yield (1.0 - some.rows @ right.rows.T).round(TIE_DECIMALS)
            else:
                yield np.sqrt(some.squares(right))
