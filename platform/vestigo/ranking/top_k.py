"""Rank a gallery that is never held in memory: the nearest k crops of each query, as in docs/method.md, "Distance".

Ranking is a fold over parts of the gallery: `rank_part` ranks one part, `Ranking.merge` joins two partial results.
Distances are equation 14 in float64 and equal distances are ordered by crop id, so the result depends neither on the
boundaries of parts nor on their order. Memory is O(Q x k + part).

Rough distances screen each part. Only pairs that may belong to the nearest k are then computed one by one in float64.
Symbols: Q queries, n crops of a part, m of them that are ranked, D numbers of a descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vestigo.ranking.camera_bias import NO_BIAS, CameraBias
from vestigo.ranking.halves import HalvedDescriptors
from vestigo.ranking.products import DENSE, MANY_QUERIES, CameraRows, QueryFactors
from vestigo.ranking.screening import may_be_nearest, pairs_of, places_in
from vestigo_models.arrays import BoolArray, Float64Array, Int64Array
from vestigo_models.inference.distance import Descriptors, paired_distance

QUERIES_AT_ONCE = 256
PAIRS_AT_ONCE = 4096
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Parts that are ranked at a time."""

KeptCrops: TypeAlias = Callable[[slice], BoolArray]
"""Returns which crops of a part some queries keep, (q, m)."""
AddedDistances: TypeAlias = Callable[[slice], Float64Array]
"""Returns what is added to the distances of some queries from the crops of a part, (q, m)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryPart:
    """n crops, of which m are ranked."""

    ids: NDArray[np.bytes_]  # (n,)
    crops: CameraRows  # n
    rows: Int64Array | None = None  # (m,), ascending; None to rank all
    # What an attribute filter keeps of the m crops, and what it adds to their distances
    keeps: KeptCrops | None = None
    added: AddedDistances | None = None
    release: Callable[[], None] = lambda: None  # Called when the part is ranked

    @classmethod
    def of(cls, ids: NDArray[np.bytes_], descriptors: Descriptors) -> GalleryPart:
        """Return crops that have no bias."""
        halves = HalvedDescriptors.of(descriptors, ())
        crops = CameraRows(crops=halves, cameras=[(None, slice(0, len(halves)))])
        return cls(ids=ids, crops=crops)

    def __len__(self) -> int:
        return len(self.ids) if self.rows is None else len(self.rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The nearest k crops of each of Q queries, nearest first."""

    ids: NDArray[np.bytes_]  # (Q, k) bytes, b"" if there are fewer than k crops
    distances: Float64Array  # (Q, k) float64, infinity if there are fewer
    compared: int  # Crops that were ranked
    read: int = 0  # Crops whose descriptors were read for it; a filter saves some

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
            read=self.read + other.read,
        )

    def excluding(self, crops: Iterable[Iterable[str]], k: int) -> Ranking:
        """Return the nearest k crops of each query without some crops, one collection of ids for each query."""
        distances = self.distances.copy()
        for row, excluded in enumerate(crops):
            distances[row, np.isin(self.ids[row], np.array([crop.encode() for crop in excluded], dtype="S"))] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(distances, nearest, axis=1)
        ids = np.where(np.isinf(distances), b"", np.take_along_axis(self.ids, nearest, axis=1))
        return Ranking(ids=ids, distances=distances, compared=self.compared, read=self.read)

    def neighbours(self, query: int) -> list[tuple[str, float]]:
        """Return crop ids and distances of the query at a position, nearest first."""
        pairs = zip(self.ids[query].tolist(), self.distances[query].tolist(), strict=True)
        return [(crop.decode(), distance) for crop, distance in pairs if distance != np.inf]


def rank(queries: Descriptors, parts: Iterable[GalleryPart], k: int, *, bias: CameraBias = NO_BIAS) -> Ranking:
    """Rank a gallery for Q queries of the same model in one pass; the nearest k crops of each query are kept.

    Args:
        queries: Queries without the bias of their cameras.
        parts: Parts of the gallery; some of them are ranked at a time, on threads.
        k: Number of nearest crops.
        bias: Bias of the cameras, which the parts have.
    """
    factors = query_factors(queries, bias)
    ranking = Ranking.empty(len(queries), k)
    running: set[Future[Ranking]] = set()
    with ThreadPoolExecutor(CORES) as pool:
        try:
            for part in parts:
                # The bound of what is merged so far spares later parts the exact distances of farther crops.
                running.add(pool.submit(rank_part, factors, part, k, within=ranking.distances[:, -1]))
                if len(running) > CORES:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        ranking = ranking.merge(future.result())
            for future in running:
                ranking = ranking.merge(future.result())
        finally:
            for future in running:
                future.cancel()
    return ranking


def query_factors(queries: Descriptors, bias: CameraBias = NO_BIAS) -> list[QueryFactors]:
    """Return queries as `rank_part` takes them, `QUERIES_AT_ONCE` at a time."""
    return [
        QueryFactors(queries=queries[start : start + QUERIES_AT_ONCE], bias=bias)
        for start in range(0, len(queries), QUERIES_AT_ONCE)
    ]


def rank_part(
    factors: Sequence[QueryFactors], part: GalleryPart, k: int, *, within: Float64Array | None = None
) -> Ranking:
    """Rank one part; crops that are farther away than `within` (Q,) may be skipped."""
    count = sum(len(some.queries) for some in factors)
    limit = np.full(count, np.inf) if within is None else within
    whole = None
    if count > MANY_QUERIES:
        # Made once, and compared with all queries.
        everything = np.arange(len(part.ids)) if part.rows is None else part.rows
        whole = part.crops.descriptors(everything, factors[0].bias)
    ids = np.zeros((count, k), dtype=part.ids.dtype)
    distances = np.full((count, k), np.inf)
    read = start = 0
    for some in factors:
        queries = slice(start, start := start + len(some.queries))
        rows, added = part.rows, None if part.added is None else part.added(queries)
        kept = None if part.keeps is None else part.keeps(queries)
        if kept is not None and whole is None:
            chosen = np.flatnonzero(kept[0] if len(kept) == 1 else kept.any(axis=0))
            if len(chosen) < DENSE * len(part):
                rows, kept = chosen if rows is None else rows[chosen], kept[:, chosen]
                added = None if added is None else added[:, chosen]
        rough = some.compare(part.crops, rows) if whole is None else some.compare_whole(whole)
        read += rough.read
        estimates = rough.distances if added is None else rough.distances + added
        if kept is not None:
            estimates[~kept] = np.inf
        pairs, columns = pairs_of(may_be_nearest(estimates, rough.margin, k, limit[queries]))
        places = columns if rows is None else rows[columns]
        if whole is None:
            exact = _exact_distances(some, part.crops, pairs, places)
        else:
            exact = _paired_distances(some.queries, pairs, whole, columns)
        if added is not None:
            exact += added[pairs, columns]
        names = part.ids[places]
        order = np.lexsort((names, exact, pairs))
        pairs, names, exact = pairs[order], names[order], exact[order]
        place = places_in(pairs)
        nearest = (place < k) & np.isfinite(exact)
        at = queries.start + pairs[nearest], place[nearest]
        ids[at], distances[at] = names[nearest], exact[nearest]
    part.release()
    return Ranking(ids=ids, distances=distances, compared=len(part), read=read if whole is None else len(whole))


def _exact_distances(factors: QueryFactors, crops: CameraRows, pairs: Int64Array, rows: Int64Array) -> Float64Array:
    """Return the exact distances of queries from rows of crops, pair by pair."""
    distances = np.empty(len(rows))
    used, of_used = np.unique(rows, return_inverse=True)
    for first in range(0, len(used), PAIRS_AT_ONCE):
        chosen = np.flatnonzero((of_used >= first) & (of_used < first + PAIRS_AT_ONCE))
        descriptors = crops.descriptors(used[first : first + PAIRS_AT_ONCE], factors.bias)
        distances[chosen] = _paired_distances(factors.queries, pairs[chosen], descriptors, of_used[chosen] - first)
    return distances


def _paired_distances(queries: Descriptors, pairs: Int64Array, crops: Descriptors, columns: Int64Array) -> Float64Array:
    distances = np.empty(len(pairs))
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        distances[part] = paired_distance(queries[pairs[part]], crops[columns[part]])
    return distances
