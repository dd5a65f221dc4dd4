"""Rank a gallery that is never held in memory: the nearest k crops of each query, as in docs/method.md, "Distance".

Ranking is a fold over batches of the gallery: `rank_batch` ranks one batch, `Ranking.merge` joins two partial results.
Distances are equation 14 in float64 and equal distances are ordered by crop id, so the result does not depend on the
boundaries or the order of batches. Memory is O(Q x k + batch).

A float32 matrix product, whose rounding depends on its shape, screens each batch. Only pairs that may belong to the
nearest k are then computed one by one in float64. The screen accepts a pair within a proven bound of its rounding
error. Symbols: Q queries, n crops of a batch, D numbers of a descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo_models.arrays import BoolArray, Float64Array
from vestigo_models.inference.distance import Descriptors, paired_distance, part_visible_distance

QUERIES_AT_ONCE = 256
PAIRS_AT_ONCE = 4096

AddedDistances = Callable[[slice], Float64Array]
"""Returns what is added to the distances of some queries from a batch: (q, n) float64, infinity to discard a crop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryBatch:
    """Ids (string) and descriptors of n crops, and what an attribute filter adds to their distances."""

    ids: pa.Array
    descriptors: Descriptors
    added: AddedDistances | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The nearest k crops of each of Q queries, nearest first."""

    ids: NDArray[np.bytes_]  # (Q, k) bytes, b"" if there are fewer than k crops
    distances: Float64Array  # (Q, k) float64, infinity if there are fewer
    compared: int  # Crops that were ranked

    @classmethod
    def empty(cls, queries: int, k: int) -> Ranking:
        """Return the ranking of an empty gallery, where the fold begins."""
        return cls(ids=np.zeros((queries, k), dtype="S1"), distances=np.full((queries, k), np.inf), compared=0)

    def merge(self, other: Ranking) -> Ranking:
        """Join the rankings of two galleries without common crops."""
        ids = np.concatenate([self.ids, other.ids], axis=1)
        distances = np.concatenate([self.distances, other.distances], axis=1)
        nearest = np.lexsort((ids, distances), axis=1)[:, : self.ids.shape[1]]
        return Ranking(
            ids=np.take_along_axis(ids, nearest, axis=1),
            distances=np.take_along_axis(distances, nearest, axis=1),
            compared=self.compared + other.compared,
        )

    def add(self, queries: Descriptors, batch: GalleryBatch) -> Ranking:
        """Add a batch of crops: one step of the fold in `rank`."""
        return self.merge(rank_batch(queries, batch, self.ids.shape[1], within=self.distances[:, -1]))

    def excluding(self, crops: Iterable[Iterable[str]], k: int) -> Ranking:
        """Return the nearest k crops of each query without some crops, one collection of ids for each query."""
        distances = self.distances.copy()
        for row, excluded in enumerate(crops):
            distances[row, np.isin(self.ids[row], np.array([crop.encode() for crop in excluded], dtype="S"))] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(distances, nearest, axis=1)
        ids = np.where(np.isinf(distances), b"", np.take_along_axis(self.ids, nearest, axis=1))
        return Ranking(ids=ids, distances=distances, compared=self.compared)

    def neighbours(self, query: int) -> list[tuple[str, float]]:
        """Return crop ids and distances of the query at a position, nearest first."""
        pairs = zip(self.ids[query].tolist(), self.distances[query].tolist(), strict=True)
        return [(crop.decode(), distance) for crop, distance in pairs if distance != np.inf]


def encode_ids(ids: pa.Array) -> NDArray[np.bytes_]:
    """Return (n,) crop ids as bytes, the form in which they are compared."""
    return np.asarray(ids.to_numpy(zero_copy_only=False).astype("S"))


def rank(queries: Descriptors, batches: Iterable[GalleryBatch], k: int) -> Ranking:
    """Rank a gallery for Q queries of the same model in one pass; the nearest k crops of each query are kept."""
    ranking = Ranking.empty(len(queries), k)
    for batch in batches:
        ranking = ranking.add(queries, batch)
    return ranking


def rank_batch(queries: Descriptors, batch: GalleryBatch, k: int, *, within: Float64Array | None = None) -> Ranking:
    """Rank one batch; crops that are farther away than `within` (Q,) may be skipped."""
    limit = np.full(len(queries), np.inf) if within is None else within
    width = pc.max(pc.binary_length(batch.ids)).as_py() or 1
    ids = np.zeros((len(queries), k), dtype=f"S{width}")
    distances = np.full((len(queries), k), np.inf)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        added = None if batch.added is None else batch.added(part)
        rows, columns = np.nonzero(_candidate_pairs(queries[part], batch.descriptors, added, limit[part], k))
        exact = _exact_distances(queries[part], batch.descriptors, rows, columns)
        if added is not None:
            exact += added[rows, columns]
        names = encode_ids(batch.ids.take(pa.array(columns)))
        order = np.lexsort((names, exact, rows))
        rows, names, exact = rows[order], names[order], exact[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        nearest = place < k
        ids[start + rows[nearest], place[nearest]] = names[nearest]
        distances[start + rows[nearest], place[nearest]] = exact[nearest]
    return Ranking(ids=ids, distances=distances, compared=len(batch.ids))


def _candidate_pairs(
    queries: Descriptors, crops: Descriptors, added: Float64Array | None, limit: Float64Array, k: int
) -> BoolArray:
    """Return (q, n) pairs that may be among the nearest k: a superset for any rounding of the float32 product."""
    # |computed - true| <= gamma_D sum |x_b| |y_b| over the blocks b, gamma_D = D u, u = 2^-24. Blocks have length 1, or
    # 0 where a part is not visible, so the sum is the number of terms that the product is divided by. Two u more for
    # dividing and subtracting; twice all of it for the difference of the blocks' lengths from 1.
    margin = 2.0 * (queries.vectors.shape[1] + 2) * 2.0**-24
    rough = part_visible_distance(queries, crops)
    if added is not None:
        rough = rough + added
    close = np.asarray((rough <= (limit + margin)[:, None]) & (rough < np.inf))
    crowded = close.sum(axis=1) > k
    if crowded.any():
        kth = np.partition(rough[crowded], k - 1, axis=1)[:, k - 1]
        close[crowded] &= rough[crowded] <= (kth + 2.0 * margin)[:, None]
    return close


def _exact_distances(
    queries: Descriptors, crops: Descriptors, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Float64Array:
    distances = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        pairs = slice(start, start + PAIRS_AT_ONCE)
        distances[pairs] = paired_distance(queries[rows[pairs]], crops[columns[pairs]])
    return distances
