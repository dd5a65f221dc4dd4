"""The nearest k of an archive that is never held in memory (specification section 11, ranking).

Ranking is a fold over batches of the gallery: `rank_batch` ranks one batch, `Ranking.merge` joins two partial results.
Distances are equation 14 in float64 and equal distances are ordered by crop id, so neither the boundaries nor the
order of batches changes the answer by a bit. Memory is O(Q x k + batch).

Each batch is screened with a float32 matrix product, whose rounding depends on its shape; only the pairs that may
belong to the nearest k are then computed pair by pair in float64. The screen lets a pair pass within a proven bound on
its rounding error, so it never decides anything. Symbols: Q queries, n crops of a batch, D numbers of a descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo_models.inference.distance import Descriptors

QUERIES_AT_ONCE = 256
PAIRS_AT_ONCE = 4096

Extra = Callable[[slice], NDArray[np.float64]]
"""Of some of the queries, what is added to their distances from a batch: (q, n) float64, infinity for crops that are
out of the question."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """n crops of the archive: `ids` (string), `crops`, and what an attribute filter has to say of them."""

    ids: pa.Array
    crops: Descriptors
    extra: Extra | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The nearest k crops of each of Q queries among the `compared` crops seen so far, nearest first.

    `ids` (Q, k) bytes and `distances` (Q, k) float64; where fewer than k crops were seen, b"" and infinity.
    """

    ids: NDArray[np.bytes_]
    distances: NDArray[np.float64]
    compared: int

    @classmethod
    def of_nothing(cls, queries: int, k: int) -> Ranking:
        """The ranking of an empty gallery: where the fold begins."""
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

    def add(self, queries: Descriptors, batch: Batch) -> Ranking:
        """One step of the fold: take in a batch of crops, as in `rank`."""
        return self.merge(rank_batch(queries, batch, self.ids.shape[1], within=self.distances[:, -1]))

    def without(self, own: Iterable[Iterable[str]], k: int) -> Ranking:
        """The nearest k of each query that are not among its `own` crops (one collection a query)."""
        distances = self.distances.copy()
        for row, crops in enumerate(own):
            distances[row, np.isin(self.ids[row], np.array([crop.encode() for crop in crops], dtype="S"))] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(distances, nearest, axis=1)
        ids = np.where(np.isinf(distances), b"", np.take_along_axis(self.ids, nearest, axis=1))
        return Ranking(ids=ids, distances=distances, compared=self.compared)

    def of_query(self, position: int) -> list[tuple[str, float]]:
        """Crop ids and distances of one query, nearest first."""
        pairs = zip(self.ids[position].tolist(), self.distances[position].tolist(), strict=True)
        return [(crop.decode(), distance) for crop, distance in pairs if distance != np.inf]


def rank(queries: Descriptors, batches: Iterable[Batch], k: int) -> Ranking:
    """Rank an archive for Q queries of the same model in one pass; the nearest k crops are kept a query."""
    ranking = Ranking.of_nothing(len(queries), k)
    for batch in batches:
        ranking = ranking.add(queries, batch)
    return ranking


def rank_batch(queries: Descriptors, batch: Batch, k: int, *, within: NDArray[np.float64] | None = None) -> Ranking:
    """Rank one batch; crops farther than `within` (Q,) may be left out, because nobody asks for them any more."""
    limit = np.full(len(queries), np.inf) if within is None else within
    width = pc.max(pc.binary_length(batch.ids)).as_py() or 1
    found = np.zeros((len(queries), k), dtype=f"S{width}")
    distances = np.full((len(queries), k), np.inf)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = slice(start, start + QUERIES_AT_ONCE)
        asked = queries[some]
        extra = None if batch.extra is None else batch.extra(some)
        rows, columns = np.nonzero(_may_belong(asked, batch.crops, extra, limit[some], k))
        exact = _pair_distances(asked, batch.crops, rows, columns)
        if extra is not None:
            exact += extra[rows, columns]
        names = batch.ids.take(pa.array(columns)).to_numpy(zero_copy_only=False).astype("S")
        order = np.lexsort((names, exact, rows))
        rows, names, exact = rows[order], names[order], exact[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        nearest = place < k
        found[start + rows[nearest], place[nearest]] = names[nearest]
        distances[start + rows[nearest], place[nearest]] = exact[nearest]
    return Ranking(ids=found, distances=distances, compared=len(batch.ids))


def _may_belong(
    queries: Descriptors,
    crops: Descriptors,
    extra: NDArray[np.float64] | None,
    limit: NDArray[np.float64],
    k: int,
) -> NDArray[np.bool_]:
    """(q, n) bool: pairs that may be among the nearest k; a superset whatever the float32 product rounded."""
    # |computed - true| <= gamma_D sum |x_b| |y_b| over the blocks b, gamma_D = D u, u = 2^-24. Blocks have length 1, or
    # 0 where a part is not visible, so the sum is the number of terms that the product is divided by. Two u more for
    # dividing and subtracting; all of it twice for what the blocks' lengths miss of 1.
    margin = 2.0 * (queries.vectors.shape[1] + 2) * 2.0**-24
    terms: NDArray[np.float32] | float = queries.always
    if queries.visible.shape[1]:
        terms = queries.visible.astype(np.float32) @ crops.visible.astype(np.float32).T + np.float32(queries.always)
    rough: NDArray[np.floating] = 1.0 - queries.vectors @ crops.vectors.T / terms
    if extra is not None:
        rough = rough + extra
    close = np.asarray((rough <= (limit + margin)[:, None]) & (rough < np.inf))
    crowded = close.sum(axis=1) > k
    if crowded.any():
        kth = np.partition(rough[crowded], k - 1, axis=1)[:, k - 1]
        close[crowded] &= rough[crowded] <= (kth + 2.0 * margin)[:, None]
    return close


def _pair_distances(
    queries: Descriptors, crops: Descriptors, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(pairs,) float64: equation 14, each pair summed in the same order wherever it stands."""
    distances = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        products = queries.vectors[rows[some]].astype(np.float64) * crops.vectors[columns[some]]
        shared = (queries.visible[rows[some]] & crops.visible[columns[some]]).sum(axis=1)
        distances[some] = np.maximum(1.0 - products.sum(axis=1) / (shared + queries.always), 0.0)
    return distances
