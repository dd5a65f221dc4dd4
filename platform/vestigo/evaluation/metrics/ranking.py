"""Metrics of a ranking: mAP, CMC and mINP under a protocol, as in docs/method.md, "Retrieval metrics".

`score_queries` scores some queries, `QueryScores.merge` joins scores, and `QueryScores.summary` computes the metrics.
The result does not depend on how the queries are split. Symbols: Q queries, G gallery images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.metrics.counting import Matches
from vestigo.ranking.screening import DistanceBlock, Rows, pairs_of
from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int64Array

Protocol = Literal["cross-camera", "same-camera", "all"]
"""What a query is compared with. `cross-camera`, the standard: everything but images of the query's identity from the
query's camera. `same-camera`: the images of the query's camera only. `all`: everything. A query image is never compared
with itself, and junk (identity -1) never compared."""

MOST_CAMERAS = 64
"""Cameras of a gallery up to which pairs of cameras are scored."""

PROTOCOLS: tuple[Protocol, ...] = ("cross-camera", "same-camera", "all")

ApDefinition = Literal["standard", "trapezoid"]
"""`standard`: mean of the precision at each match. `trapezoid`, as in the original Market-1501 toolbox: mean of that
precision and the one a rank before."""

SCORED, JUNK, DISTRACTOR, ABSENT, SAME_CAMERA_ONLY, OTHER_CAMERA_ONLY, ITSELF_ONLY = range(7)
REASONS = {
    JUNK: "query is junk",
    DISTRACTOR: "query is a distractor",
    ABSENT: "identity not in gallery",
    SAME_CAMERA_ONLY: "only same-camera matches",
    OTHER_CAMERA_ONLY: "only other-camera matches",
    ITSELF_ONLY: "only the query image itself",
}
"""Why a query cannot be scored. Such a query is excluded from every mean and counted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Identities and cameras of N images; `ids` are equal for equal images only, None if no query is in the gallery."""

    pids: Int64Array
    camids: Int64Array
    ids: Int64Array | None = None

    def __len__(self) -> int:
        return len(self.pids)

    def __getitem__(self, rows: slice | Int64Array) -> ImageSet:
        return ImageSet(
            pids=self.pids[rows], camids=self.camids[rows], ids=None if self.ids is None else self.ids[rows]
        )


@dataclass(frozen=True, kw_only=True)
class RetrievalMetrics:
    """Retrieval metrics in percent; None if no query is scored."""

    mAP: float | None
    mINP: float | None
    cmc: dict[int, float | None]  # Rank -> share of scored queries whose first match has that rank or a smaller one
    queries: int  # All queries, including excluded ones
    excluded: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class CameraPairMetrics:
    """Metrics in percent of the queries of one camera among the gallery images of another."""

    queries: int  # Scored queries with a match on that camera
    mAP: float
    rank1: float


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryScores:
    """Scores of q queries."""

    ap: Float64Array  # (q,) average precision as a fraction, NaN if excluded
    inp: Float64Array  # (q,) inverse negative penalty as a fraction, NaN if excluded
    first: Int64Array  # (q,) int64, rank of the first match from 1, 0 if excluded
    status: Int64Array  # (q,) int64, `SCORED` or a key of `REASONS`
    # (q, C) `ap` and `first` among the images of each camera of the gallery, in ascending order; NaN and 0 without a
    # match there. C is 0 for more than `MOST_CAMERAS` cameras.
    ap_by_camera: Float64Array
    first_by_camera: Int64Array

    def __getitem__(self, rows: BoolArray | Int64Array) -> QueryScores:
        return QueryScores(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def merge(cls, parts: Iterable[QueryScores]) -> QueryScores:
        """Concatenate scores; no query without parts."""
        parts = [part for part in parts if len(part.status)]
        cameras = np.concatenate([part.ap_by_camera for part in parts] or [np.empty((0, 0))])
        first = np.concatenate([part.first_by_camera for part in parts] or [np.empty((0, 0), np.int64)])
        joined = concatenate(parts, ("ap", "inp"), np.float64) | concatenate(parts, ("first", "status"), np.int64)
        return cls(**joined, ap_by_camera=cameras, first_by_camera=first)

    def summary(self, ranks: Sequence[int] = (1, 5, 10)) -> RetrievalMetrics:
        """Return means over the scored queries, and the number of the others."""
        scored = self.status == SCORED
        count = int(scored.sum())

        def percent(values: Float64Array) -> float | None:
            # fsum rounds once, so the mean does not depend on how the queries are split.
            return 100.0 * math.fsum(values[scored]) / count if count else None

        hits = count_hits(self.first[scored], max(ranks))
        codes, counts = np.unique(self.status[~scored], return_counts=True)
        return RetrievalMetrics(
            mAP=percent(self.ap),
            mINP=percent(self.inp),
            cmc={rank: 100.0 * int(hits[rank - 1]) / count if count else None for rank in ranks},
            queries=len(self.status),
            excluded={REASONS[int(code)]: int(number) for code, number in zip(codes, counts, strict=True)},
        )


def score_camera_pairs(
    scores: QueryScores, query: Int64Array, gallery: Int64Array
) -> dict[tuple[int, int], CameraPairMetrics]:
    """Return the metrics of each pair of a query's camera and a gallery camera that has a match.

    `query` and `gallery` are the cameras of all queries and gallery images, (q,) and (G,).
    """
    result = {}
    for column, camera in enumerate(np.unique(gallery)[: scores.ap_by_camera.shape[1]].tolist()):
        for own in np.unique(query).tolist():
            rows = np.flatnonzero((query == own) & (scores.first_by_camera[:, column] > 0))
            if len(rows):
                result[own, camera] = CameraPairMetrics(
                    queries=len(rows),
                    mAP=100.0 * math.fsum(scores.ap_by_camera[rows, column]) / len(rows),
                    rank1=100.0 * int((scores.first_by_camera[rows, column] == 1).sum()) / len(rows),
                )
    return dict(sorted(result.items()))


def concatenate(parts: Sequence[object], names: Sequence[str], dtype: type) -> dict[str, NDArray[Any]]:
    """Return the named arrays of all parts, each joined; without parts they are empty with `dtype`."""
    return {name: np.concatenate([np.empty(0, dtype), *(getattr(part, name) for part in parts)]) for name in names}


def score_queries(
    distances: DistanceBlock | FloatArray,
    query: ImageSet,
    gallery: ImageSet,
    *,
    protocol: Protocol = "cross-camera",
    ap: ApDefinition = "standard",
) -> QueryScores:
    """Score q queries from distances (q, G); of equal distances the earlier image comes first.

    The rank of a match is one more than the number of compared images before it, so nothing is sorted. Memory is
    O(q x G).
    """
    block = distances if isinstance(distances, DistanceBlock) else DistanceBlock.of(distances)
    same = SameIdentity.of(query, gallery)
    status, is_match = same.judge(query, gallery, protocol)
    matches = Matches.of(block, same.rows[is_match], same.columns[is_match])
    cameras, codes = np.unique(gallery.camids, return_inverse=True)
    if len(cameras) > MOST_CAMERAS:
        cameras, codes = cameras[:0], np.zeros_like(codes)
    codes = codes.astype(np.int8)
    before = matches.count_before(block, codes, _compared_columns(query, gallery, protocol))
    before -= matches.count_pairs_before(block, codes, *_excluded_pairs(query, gallery, protocol, same))
    average, inp, first = _score_lists(matches.rows, before[0] + 1, len(query), ap)
    shape = len(query), len(cameras)
    is_shown = np.full(len(matches.rows), len(cameras) > 0)
    lists = matches.rows[is_shown] * len(cameras) + codes[matches.columns[is_shown]]
    by_camera, _, first_by_camera = _score_lists(lists, before[1, is_shown] + 1, len(query) * len(cameras), ap)
    return QueryScores(
        ap=average,
        inp=inp,
        first=first,
        status=status,
        ap_by_camera=by_camera.reshape(shape),
        first_by_camera=first_by_camera.reshape(shape),
    )


def _score_lists(
    lists: Rows, ranks: Int64Array, size: int, ap: ApDefinition
) -> tuple[Float64Array, Float64Array, Int64Array]:
    """Return average precision, inverse negative penalty and first rank, (size,), from the list and rank of matches."""
    order = np.lexsort((ranks, lists))
    lists, ranks = lists[order], ranks[order]
    totals = np.bincount(lists, minlength=size)
    ordinal, first = number_matches(lists, ranks, size)
    precision = ordinal / ranks
    if ap == "trapezoid":
        before = np.where(ranks > 1, (ordinal - 1) / np.maximum(ranks - 1, 1), 1.0)
        precision = (precision + before) / 2.0
    last = np.zeros(size, dtype=np.int64)
    np.maximum.at(last, lists, ranks)
    with np.errstate(invalid="ignore"):
        return np.bincount(lists, weights=precision, minlength=size) / totals, totals / last, first


def number_matches(rows: Rows, ranks: Int64Array, size: int) -> tuple[Int64Array, Int64Array]:
    """Number the matches of `size` ranked lists, given the list and the rank of each match, (m,) in ascending order.

    Returns:
        (m,) the number of each match in its list, from 1, and (size,) the rank of the first match, 0 without matches.
    """
    totals = np.bincount(rows, minlength=size)
    ordinal = np.arange(1, len(rows) + 1) - (np.cumsum(totals) - totals)[rows]
    first = np.zeros(size, dtype=np.int64)
    first[rows[ordinal == 1]] = ranks[ordinal == 1]
    return ordinal, first


def count_hits(first: Int64Array, depth: int) -> Int64Array:
    """Return the CMC as counts: (depth,) queries whose first match (0 = none) has rank 1, 2, ... or a smaller one."""
    hits = np.bincount(first[(first > 0) & (first <= depth)], minlength=depth + 1)
    return np.cumsum(hits)[1:]


@dataclass(frozen=True, kw_only=True, eq=False)
class SameIdentity:
    """The pairs of a query and a gallery image of its identity, in ascending order; junk and distractors have none."""

    rows: Int64Array  # (p,)
    columns: Int64Array  # (p,)

    @classmethod
    def of(cls, query: ImageSet, gallery: ImageSet) -> SameIdentity:
        """Find the pairs."""
        rows, columns = pairs_of(query.pids[:, None] == gallery.pids)
        is_person = query.pids[rows] > 0
        return cls(rows=rows[is_person], columns=columns[is_person])

    def judge(self, query: ImageSet, gallery: ImageSet, protocol: Protocol) -> tuple[Int64Array, BoolArray]:
        """Return the status of each query, (q,), and which of the pairs, (p,), are true matches of scored queries."""
        admitted = is_admitted(query.camids[self.rows] == gallery.camids[self.columns], protocol)
        other = admitted
        if query.ids is not None and gallery.ids is not None:
            other = admitted & (query.ids[self.rows] != gallery.ids[self.columns])
        some = [np.bincount(self.rows[pairs], minlength=len(query)) > 0 for pairs in (slice(None), admitted, other)]
        status = query_status(query.pids, some[0], some[1], some[2], protocol)
        return status, np.asarray(other & (status == SCORED)[self.rows])


def _compared_columns(query: ImageSet, gallery: ImageSet, protocol: Protocol) -> Callable[[int], Int64Array | None]:
    """Return a function of a query's row: the columns that it is compared with but for pairs, None for all."""
    is_junk = gallery.pids == -1
    if protocol == "same-camera":
        of = {camera: np.flatnonzero((gallery.camids == camera) & ~is_junk) for camera in np.unique(query.camids)}
        return lambda row: of[query.camids[row]]
    columns = np.flatnonzero(~is_junk) if is_junk.any() else None
    return lambda _: columns


def _excluded_pairs(
    query: ImageSet, gallery: ImageSet, protocol: Protocol, same: SameIdentity
) -> tuple[Int64Array, Int64Array]:
    """Return rows and columns of the pairs that are not compared though their columns are; rows are ascending."""
    rows, columns = np.empty((2, 0), np.int64)
    if query.ids is not None and gallery.ids is not None:
        rows, columns = pairs_of(query.ids[:, None] == gallery.ids)
    if protocol == "cross-camera":
        own = query.camids[same.rows] == gallery.camids[same.columns]
        # Both kinds of pairs may hold an image itself.
        pairs = np.concatenate([rows, same.rows[own]]) * len(gallery) + np.concatenate([columns, same.columns[own]])
        rows, columns = np.divmod(np.unique(pairs), max(1, len(gallery)))
    is_column = gallery.pids[columns] != -1
    if protocol == "same-camera":
        is_column &= query.camids[rows] == gallery.camids[columns]
    return rows[is_column], columns[is_column]


def compared_images(query: ImageSet, gallery: ImageSet, protocol: Protocol) -> BoolArray:
    """Return (q, G) whether a query is compared with a gallery image."""
    compared = is_admitted(query.camids[:, None] == gallery.camids, protocol)
    if protocol == "cross-camera":
        # The camera of a query excludes its own identity only: all other images are negatives.
        compared |= query.pids[:, None] != gallery.pids
    if query.ids is not None and gallery.ids is not None:
        compared &= query.ids[:, None] != gallery.ids
    return np.asarray(compared & (gallery.pids != -1))


def is_admitted(same_camera: BoolArray, protocol: Protocol) -> BoolArray:
    """Return whether the protocol looks for matches on cameras that are, or are not, the query's."""
    if protocol == "cross-camera":
        return np.asarray(~same_camera)
    return np.asarray(same_camera) if protocol == "same-camera" else np.ones_like(same_camera)


def query_status(
    pids: Int64Array, in_gallery: BoolArray, is_admitted: BoolArray, has_match: BoolArray, protocol: Protocol
) -> Int64Array:
    """Return (q,) the first reason that holds, or `SCORED`.

    The (q,) flags say whether the gallery has the query's identity, on an admitted camera, and in another image.
    """
    other_camera = SAME_CAMERA_ONLY if protocol == "cross-camera" else OTHER_CAMERA_ONLY
    reasons = {
        JUNK: pids == -1,
        DISTRACTOR: pids == 0,
        ABSENT: ~in_gallery,
        other_camera: ~is_admitted,
        ITSELF_ONLY: ~has_match,
    }
    return np.select(list(reasons.values()), list(reasons), default=SCORED).astype(np.int64)
