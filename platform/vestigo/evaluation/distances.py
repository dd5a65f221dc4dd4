"""Query-gallery distances, a chunk of queries at a time (specification section 8, baseline)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["cosine", "euclidean"]

TIE_DECIMALS = 10
"""Distances are rounded here: equal vectors must tie, but a matrix product may sum the columns of one matrix in
different orders, which parts equal vectors by some 1e-16."""


def distance_chunks(
    query: NDArray[np.floating], gallery: NDArray[np.floating], *, metric: Metric = "cosine", chunk: int = 256
) -> Iterator[NDArray[np.float64]]:
    """Yield distances in chunks of queries, in order; memory beyond the inputs is O(chunk x G + G x D).

    Args:
        query: (Q, D) features.
        gallery: (G, D) features.
        metric: `cosine` is 1 - cos (a zero vector has distance 1 to everything), `euclidean` is not squared.
        chunk: queries a chunk.

    Yields:
        (c, G) float64, c <= chunk.
    """
    left, right = query.astype(np.float64), gallery.astype(np.float64)
    if metric == "cosine":
        left, right = unit(left), unit(right)
    for start in range(0, len(left), chunk):
        part = left[start : start + chunk]
        if metric == "cosine":
            yield (1.0 - part @ right.T).round(TIE_DECIMALS)
        else:
            yield np.sqrt(squared_euclidean(part, right))


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, D) vectors divided by their lengths; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0))


def squared_euclidean(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """(q, G) squared Euclidean distances, rounded as `TIE_DECIMALS` says: a root would make 1e-8 of 1e-16."""
    squares = np.einsum("qd,qd->q", left, left)[:, None] + np.einsum("gd,gd->g", right, right)
    return np.asarray(np.maximum((squares - 2.0 * (left @ right.T)).round(TIE_DECIMALS), 0.0))
