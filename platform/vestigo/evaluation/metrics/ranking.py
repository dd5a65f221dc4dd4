"""How good a ranking is: mAP, CMC and mINP under a named protocol (specification section 2.4).

Evaluation is a fold over queries: `score_queries` gives one partial result for some queries, `QueryScores.merge` joins
partial results, and `QueryScores.summary` ends the fold. No split of the queries changes the answer by a bit.
Symbols: Q queries, G gallery images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Protocol = Literal["cross-camera", "same-camera", "all"]
"""What a query is compared with. `cross-camera`, the standard: everything but images of the query's identity from the
query's camera. `same-camera`: the images of the query's camera only. `all`: everything. The query's own image is
never compared with itself, and junk (identity -1) with nothing."""

PROTOCOLS: tuple[Protocol, ...] = ("cross-camera", "same-camera", "all")

ApDefinition = Literal["standard", "trapezoid"]
"""`standard`: the mean of the precision at each match. `trapezoid`: as in the original Market-1501 toolbox, the mean of
that precision and the one a rank before."""

SCORED, JUNK, DISTRACTOR, ABSENT, SAME_CAMERA_ONLY, OTHER_CAMERA_ONLY, ITSELF_ONLY = range(7)
REASONS = {
    JUNK: "query is junk",
    DISTRACTOR: "query is a distractor",
    ABSENT: "identity not in gallery",
    SAME_CAMERA_ONLY: "only same-camera matches",
    OTHER_CAMERA_ONLY: "only other-camera matches",
    ITSELF_ONLY: "only the query image itself",
}
"""Why a query cannot be scored. It is left out of every mean and counted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Who is on N images: `pids` and `camids` (N,) int64, and `ids` (N,) int64, equal exactly for equal images.

    Without `ids`, no query image is taken to be in the gallery.
    """

    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    ids: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.pids)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> ImageSet:
        return ImageSet(
            pids=self.pids[rows], camids=self.camids[rows], ids=None if self.ids is None else self.ids[rows]
        )


@dataclass(frozen=True, kw_only=True)
class RetrievalMetrics:
    """The end of the fold. Numbers are in percent, None where no query could be scored.

    Attributes:
        cmc: rank -> share of scored queries whose first match stands at that rank or before.
        queries: all queries, those that were excluded among them.
        excluded: reason -> number of queries.
    """

    mAP: float | None
    mINP: float | None
    cmc: dict[int, float | None]
    queries: int
    excluded: dict[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryScores:
    """A partial result: for each of q queries its average precision `ap` and inverse negative penalty `inp` (float64,
    fractions, NaN where excluded), the rank of its `first` match (int64 from 1, 0 where excluded) and its `status`
    (int64, `SCORED` or a key of `REASONS`)."""

    ap: NDArray[np.float64]
    inp: NDArray[np.float64]
    first: NDArray[np.int64]
    status: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> QueryScores:
        return QueryScores(ap=self.ap[rows], inp=self.inp[rows], first=self.first[rows], status=self.status[rows])

    @classmethod
    def merge(cls, parts: Iterable[QueryScores]) -> QueryScores:
        """Join partial results; of none, the result of no query."""
        parts = [cls(ap=np.empty(0), inp=np.empty(0), first=_EMPTY, status=_EMPTY), *parts]
        return cls(
            ap=np.concatenate([part.ap for part in parts]),
            inp=np.concatenate([part.inp for part in parts]),
            first=np.concatenate([part.first for part in parts]),
            status=np.concatenate([part.status for part in parts]),
        )

    def summary(self, ranks: Sequence[int] = (1, 5, 10)) -> RetrievalMetrics:
        """Means over the scored queries, and the count of the others."""
        scored = self.status == SCORED
        count = int(scored.sum())

        def percent(values: NDArray[np.float64]) -> float | None:
            # fsum rounds once, so the mean does not depend on how the queries were split.
            return 100.0 * math.fsum(values[scored]) / count if count else None

        codes, counts = np.unique(self.status[~scored], return_counts=True)
        return RetrievalMetrics(
            mAP=percent(self.ap),
            mINP=percent(self.inp),
            cmc={rank: percent((self.first <= rank).astype(np.float64)) for rank in ranks},
            queries=len(self.status),
            excluded={REASONS[int(code)]: int(number) for code, number in zip(codes, counts, strict=True)},
        )


_EMPTY = np.empty(0, dtype=np.int64)


def score_queries(
    distances: NDArray[np.floating],
    query: ImageSet,
    gallery: ImageSet,
    *,
    protocol: Protocol = "cross-camera",
    ap: ApDefinition = "standard",
) -> QueryScores:
    """Score q queries from their distances to the whole gallery; of equal distances the earlier image comes first.

    Args:
        distances: (q, G), the smaller the more alike. Memory is O(q x G).
    """
    same_pid = query.pids[:, None] == gallery.pids
    admitted = _admitted(query, gallery, protocol)
    not_itself = _not_itself(query, gallery)
    compared = compared_images(query, gallery, protocol)
    status = _status(query.pids, same_pid, admitted, not_itself, protocol)

    order = np.argsort(distances, axis=1, kind="stable")
    kept = np.take_along_axis(compared, order, axis=1)
    matches = np.take_along_axis(compared & same_pid, order, axis=1)
    matches &= (status == SCORED)[:, None]

    # One entry for each match, query by query in ranked order: its rank, and how many matches stand up to it.
    rows, columns = np.nonzero(matches)
    rank = np.cumsum(kept, axis=1)[rows, columns]
    totals = matches.sum(axis=1)
    ordinal = np.arange(1, len(rows) + 1) - (np.cumsum(totals) - totals)[rows]
    precision = ordinal / rank
    if ap == "trapezoid":
        before = np.where(rank > 1, (ordinal - 1) / np.maximum(rank - 1, 1), 1.0)
        precision = (precision + before) / 2.0

    last = np.zeros(len(query), dtype=np.int64)
    np.maximum.at(last, rows, rank)
    first = np.zeros(len(query), dtype=np.int64)
    first[rows[ordinal == 1]] = rank[ordinal == 1]
    with np.errstate(invalid="ignore"):
        return QueryScores(
            ap=np.bincount(rows, weights=precision, minlength=len(query)) / totals,
            inp=totals / last,
            first=first,
            status=status,
        )


def compared_images(query: ImageSet, gallery: ImageSet, protocol: Protocol) -> NDArray[np.bool_]:
    """(q, G) bool: the gallery images that each query is compared with."""
    admitted = _admitted(query, gallery, protocol)
    if protocol == "cross-camera":
        # The camera of a query bars its own identity only: everybody else stays as a negative.
        admitted |= query.pids[:, None] != gallery.pids
    return np.asarray(admitted & _not_itself(query, gallery) & (gallery.pids != -1))


def score_chunks(
    chunks: Iterable[NDArray[np.floating]],
    query: ImageSet,
    gallery: ImageSet,
    *,
    protocol: Protocol = "cross-camera",
    ap: ApDefinition = "standard",
) -> QueryScores:
    """Score all queries from chunks of distances, each (c, G), in the order of the queries."""
    parts: list[QueryScores] = []
    start = 0
    for distances in chunks:
        part = query[start : start + len(distances)]
        parts.append(score_queries(distances, part, gallery, protocol=protocol, ap=ap))
        start += len(distances)
    return QueryScores.merge(parts)


def _admitted(query: ImageSet, gallery: ImageSet, protocol: Protocol) -> NDArray[np.bool_]:
    """(q, G) bool: the cameras on which the protocol looks for matches."""
    same_camera = query.camids[:, None] == gallery.camids
    if protocol == "cross-camera":
        return np.asarray(~same_camera)
    return np.asarray(same_camera) if protocol == "same-camera" else np.ones_like(same_camera)


def _not_itself(query: ImageSet, gallery: ImageSet) -> NDArray[np.bool_]:
    """(q, G) bool: the gallery image is another image than the query."""
    if query.ids is None or gallery.ids is None:
        return np.ones((len(query), len(gallery)), dtype=np.bool_)
    return np.asarray(query.ids[:, None] != gallery.ids)


def _status(
    pids: NDArray[np.int64],
    same_pid: NDArray[np.bool_],
    admitted: NDArray[np.bool_],
    not_itself: NDArray[np.bool_],
    protocol: Protocol,
) -> NDArray[np.int64]:
    """(q,) int64: the first reason that holds, or `SCORED`."""
    other_camera = SAME_CAMERA_ONLY if protocol == "cross-camera" else OTHER_CAMERA_ONLY
    reasons = {
        JUNK: pids == -1,
        DISTRACTOR: pids == 0,
        ABSENT: ~same_pid.any(axis=1),
        other_camera: ~(same_pid & admitted).any(axis=1),
        ITSELF_ONLY: ~(same_pid & admitted & not_itself).any(axis=1),
    }
    return np.select(list(reasons.values()), list(reasons), default=SCORED).astype(np.int64)
