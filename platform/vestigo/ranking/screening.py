"""Distances that are rough for all pairs and exact where it matters, as in docs/method.md, "Distance".

A float32 matrix product is fast, but its rounding depends on its shape, and so on how images are split into blocks. Its
error has a proven bound. Whatever is decided by distances is decided by the rough ones where they differ by more than
the bound, and by exact ones, each computed from its two images alone, elsewhere: results depend on no split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int64Array

Rows: TypeAlias = NDArray[np.integer]
PairDistances: TypeAlias = Callable[[Rows, Rows], Float64Array]
"""Returns the exact distances (n,) of query rows (n,) from image rows (n,)."""

GROUPS_PER_NEAREST = 16
"""Groups of images a nearest image that is looked for; their minima bound its distance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DistanceBlock:
    """Distances of q queries from G images; infinite ones are of pairs that are not compared."""

    rough: FloatArray  # (q, G)
    margin: float  # largest difference of a rough distance from the exact one
    exact: PairDistances

    @classmethod
    def of(cls, distances: FloatArray) -> DistanceBlock:
        """Return a block of distances (q, G) that are exact."""
        return cls(rough=distances, margin=0.0, exact=lambda rows, columns: distances[rows, columns].astype(np.float64))

    def __len__(self) -> int:
        return len(self.rough)

    def dense(self) -> Float64Array:
        """Return the exact distances of all pairs, (q, G); this is slow."""
        rows, columns = np.indices(self.rough.shape).reshape(2, -1)
        exact = self.exact(rows, columns).reshape(self.rough.shape)
        return np.asarray(np.where(np.isinf(self.rough), np.inf, exact))

    def among(self, compared: BoolArray) -> DistanceBlock:
        """Return the block with infinite distances of pairs that are not `compared` (q, G)."""
        return self.changed(compared, np.full((1, 1), np.inf))

    def changed(self, kept: BoolArray, others: Float64Array) -> DistanceBlock:
        """Return the block with `others` (q, G) as the distances of pairs that are not `kept` (q, G)."""
        others = np.broadcast_to(others, kept.shape)

        def exact(rows: Rows, columns: Rows) -> Float64Array:
            distances = np.array(others[rows, columns], dtype=np.float64)
            own = np.flatnonzero(kept[rows, columns])
            distances[own] = self.exact(rows[own], columns[own])
            return distances

        rough = np.where(kept, self.rough, others.astype(self.rough.dtype))
        return DistanceBlock(rough=rough, margin=self.margin, exact=exact)

    def combined(self, factor: Float64Array | float, added: Float64Array) -> DistanceBlock:
        """Return the block of `factor` times the distances plus `added`, (q, 1) and (q, G)."""
        factors = np.broadcast_to(factor, (len(self), 1))

        def exact(rows: Rows, columns: Rows) -> Float64Array:
            return np.asarray(self.exact(rows, columns) * factors[rows, 0] + added[rows, columns])

        # In float64 the rounding of this step is far within the margin.
        rough = self.rough * factors + added
        return DistanceBlock(rough=rough, margin=self.margin * float(factors.max(initial=0)), exact=exact)

    def nearest(self, k: int) -> tuple[Int64Array, Float64Array]:
        """Return the k nearest images of each query and their exact distances, both (q, k).

        Of equally distant images the first counts as nearer. Missing ones are -1, with infinite distances.
        """
        rows, columns = pairs_of(may_be_nearest(self.rough, self.margin, k))
        distances = self.exact(rows, columns)
        order = np.lexsort((columns, distances, rows))
        rows, columns, distances = rows[order], columns[order], distances[order]
        place = places_in(rows)
        first = place < k
        nearest = np.full((len(self), k), -1)
        nearest[rows[first], place[first]] = columns[first]
        values = np.full((len(self), k), np.inf)
        values[rows[first], place[first]] = distances[first]
        return nearest, values

    def farthest(self) -> Float64Array:
        """Return the largest exact distance of each query, (q,)."""
        close = self.rough >= (self.rough.max(axis=1) - 2 * self.margin)[:, None]
        rows, columns = pairs_of(close)
        largest = np.full(len(self), -np.inf)
        np.maximum.at(largest, rows, self.exact(rows, columns))
        return largest


def pairs_of(chosen: BoolArray) -> tuple[Int64Array, Int64Array]:
    """Return rows and columns of the pairs that are `chosen` (q, G), in ascending order."""
    return np.divmod(np.flatnonzero(chosen), max(1, chosen.shape[1]))


def may_be_nearest(
    rough: FloatArray, margin: FloatArray | float, k: int, within: FloatArray | None = None
) -> BoolArray:
    """Return the pairs (q, G) that may be among the k nearest of a query by their exact distances.

    Args:
        rough: Rough distances (q, G); infinite ones are of pairs that are not compared.
        margin: Largest difference from the exact distances, (G,) or one for all.
        k: Number of nearest images.
        within: Distances (q,) from which on nothing is among the nearest; equal ones may be.
    """
    bound = kth_bound(rough + margin, k)
    if within is not None:
        bound = np.minimum(bound, within)
    return np.asarray((rough - margin <= bound[:, None]) & np.isfinite(rough))


def places_in(rows: Int64Array) -> Int64Array:
    """Return the place of each pair among the pairs of its row, from ascending rows."""
    return np.asarray(np.arange(len(rows)) - np.searchsorted(rows, rows))


def kth_bound(distances: FloatArray, k: int) -> FloatArray:
    """Return a bound (q,) on the k-th smallest distance of each query, from distances (q, G); infinity if G < k.

    It is the k-th smallest of the minima of groups of images, and close to the k-th smallest of all.
    """
    q, count = distances.shape
    if count < k:
        return np.full(q, np.inf, dtype=distances.dtype)
    size = max(1, count // (GROUPS_PER_NEAREST * k))
    groups = count // size
    minima = distances[:, : groups * size].reshape(q, size, groups).min(axis=1)
    return np.asarray(np.partition(minima, k - 1, axis=1)[:, k - 1])
