"""Query-gallery distances, a chunk of queries at a time (specification section 8).

Features are compared by their cosine or as points, descriptors by equation 14, which for descriptors of one block and
no parts is the cosine, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vestigo_models.inference.distance import Descriptors

Metric = Literal["cosine", "euclidean"]
Features = NDArray[np.floating] | Descriptors
Doubles = NDArray[np.float64]

TIE_DECIMALS = 10
"""Distances are rounded here: equal vectors must tie, but a matrix product may sum the columns of one matrix in
different orders, which parts equal vectors by some 1e-16."""


def distance_chunks(
    query: Features, gallery: Features, *, metric: Metric = "cosine", chunk: int = 256
) -> Iterator[Doubles]:
    """Yield distances in chunks of queries, in order; memory beyond the inputs is O(chunk x G + G x D).

    Args:
        query: (Q, D) features, or Q descriptors.
        gallery: (G, D) features, or G descriptors.
        metric: of features: `cosine` is 1 - cos (a zero vector has distance 1 to everything), `euclidean` is not
            squared.
        chunk: queries a chunk.

    Yields:
        (c, G) float64, c <= chunk.
    """
    left, right = space(query, metric), space(gallery, metric)
    for start in range(0, len(left), chunk):
        part = left[start : start + chunk]
        as_points = metric == "euclidean" and not isinstance(query, Descriptors)
        yield np.sqrt(part.squares(right)) if as_points else part.distances(right)


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """N images as points: `rows` (N, D) float64, and where parts are compared by themselves `parts` (N, K-1) float64,
    1 for those that are visible. `always` counts the always-present blocks of a row."""

    rows: Doubles
    parts: Doubles | None = None
    always: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice | NDArray[np.integer]) -> Space:
        parts = None if self.parts is None else self.parts[some]
        return Space(rows=self.rows[some], parts=parts, always=self.always)

    def distances(self, other: Space) -> Doubles:
        """(q, G) cosine distances, or those of equation 14."""
        products = self.rows @ other.rows.T
        if self.parts is not None and other.parts is not None:
            products /= self.parts @ other.parts.T + self.always
        return np.asarray((1.0 - products).round(TIE_DECIMALS))

    def squares(self, other: Space) -> Doubles:
        """(q, G) squared Euclidean distances; of unit vectors that is twice the cosine distance, and so it is defined
        for parts."""
        if self.parts is not None:
            return 2.0 * np.maximum(self.distances(other), 0.0)
        return squared_euclidean(self.rows, other.rows)

    def pair_squares(self, other: Space) -> Doubles:
        """(N,) the same of each image with the one at its place in `other`."""
        if self.parts is None or other.parts is None:
            return np.asarray(((self.rows - other.rows) ** 2).sum(axis=1))
        terms = (self.parts * other.parts).sum(axis=1) + self.always
        return np.asarray(2.0 * np.maximum(1.0 - (self.rows * other.rows).sum(axis=1) / terms, 0.0))


def space(features: Features, metric: Metric) -> Space:
    """Features or descriptors as points."""
    if not isinstance(features, Descriptors):
        rows = features.astype(np.float64)
        return Space(rows=unit(rows) if metric == "cosine" else rows)
    rows = unit(features.vectors.astype(np.float64))
    if features.always == 1 and not features.visible.shape[1]:
        return Space(rows=rows)
    parts = features.visible.astype(np.float64)
    # Blocks have length 1 up to the rounding of float32; this way an image is at distance 0 of itself.
    rows *= np.sqrt(parts.sum(axis=1, keepdims=True) + features.always)
    return Space(rows=rows, parts=parts, always=features.always)


def unit(vectors: Doubles) -> Doubles:
    """(N, D) vectors divided by their lengths; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0))


def squared_euclidean(left: Doubles, right: Doubles) -> Doubles:
    """(q, G) squared Euclidean distances, rounded as `TIE_DECIMALS` says: a root would make 1e-8 of 1e-16."""
    squares = np.einsum("qd,qd->q", left, left)[:, None] + np.einsum("gd,gd->g", right, right)
    return np.asarray(np.maximum((squares - 2.0 * (left @ right.T)).round(TIE_DECIMALS), 0.0))
