"""How good a kept ranking is: the scores of `vestigo.evaluation.metrics.ranking`, from the nearest few of each query.

A true match that stands beyond the kept depth counts as one that was not found: average precision is then a lower
bound, and the truth where all matches were found. Symbols: q queries, R rows of all of them, N cameras.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.metrics.bootstrap import Difference, compare_means
from vestigo.evaluation.metrics.ranking import (
    ABSENT,
    DISTRACTOR,
    ITSELF_ONLY,
    JUNK,
    OTHER_CAMERA_ONLY,
    REASONS,
    SAME_CAMERA_ONLY,
    SCORED,
    Protocol,
)

UNKNOWN_PID = -2
UNKNOWN_CAMERA = -1
UNKNOWN = 7
KEPT_REASONS = REASONS | {UNKNOWN: "identity of the query unknown"}

WRONG, RIGHT, BARRED, UNJUDGED = range(4)
"""What a row is to its query: another person, the same one, an image that the protocol does not compare it with, one
of whom nobody knows who it is (on either side)."""

GROUPS = 5000
"""Identities are drawn again in at most so many groups: as good as one by one, and memory stays bounded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptRows:
    """What is kept of q queries, and what the gallery held for them; all int64.

    Attributes:
        pids, camids: (q,) of the queries.
        own: (q,) crops of the gallery that a query is itself made of: on its camera, of its identity, never ranked.
        starts: (q + 1,) the rows of query i are starts[i] to starts[i + 1], nearest first.
        row_pids, row_camids: (R,) of the rows.
        match_query, match_camid, match_count: (m,) how many crops of a query's identity the gallery holds a camera,
            its own left out; no pair of query and camera twice.
    """

    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    own: NDArray[np.int64]
    starts: NDArray[np.int64]
    row_pids: NDArray[np.int64]
    row_camids: NDArray[np.int64]
    match_query: NDArray[np.int64]
    match_camid: NDArray[np.int64]
    match_count: NDArray[np.int64]

    @property
    def row_query(self) -> NDArray[np.int64]:
        """(R,) which query a row belongs to."""
        return np.repeat(np.arange(len(self.pids)), np.diff(self.starts))


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptScores:
    """Of each of q queries: average precision `ap` (fraction, NaN where it cannot be scored), rank of the `first` match
    (from 1 among the compared rows, 0 without), how many true matches were `found` of the `matches` that there are, and
    `status` (`SCORED` or a key of `KEPT_REASONS`)."""

    ap: NDArray[np.float64]
    first: NDArray[np.int64]
    found: NDArray[np.int64]
    matches: NDArray[np.int64]
    status: NDArray[np.int64]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(q,) which queries can be scored."""
        return np.asarray(self.status == SCORED)

    @property
    def missed(self) -> int:
        """True matches of scored queries that stand beyond the kept depth, or were filtered away."""
        return int((self.matches - self.found)[self.scored].sum())

    @property
    def excluded(self) -> dict[str, int]:
        """Reason -> number of queries that cannot be scored."""
        codes, counts = np.unique(self.status[~self.scored], return_counts=True)
        return {KEPT_REASONS[int(code)]: int(count) for code, count in zip(codes, counts, strict=True)}

    def cmc(self, depth: int) -> NDArray[np.float64]:
        """(depth,) share of the scored queries whose first match stands at rank 1, 2, ... or before; NaN of none."""
        first = self.first[self.scored]
        hits = np.bincount(first[(first > 0) & (first <= depth)], minlength=depth + 1)[1:]
        return np.cumsum(hits) / len(first) if len(first) else np.full(depth, np.nan)

    @classmethod
    def merge(cls, parts: Iterable[KeptScores]) -> KeptScores:
        """Join the scores of some queries and of others."""
        parts = list(parts)
        none = np.empty(0, np.int64)
        return cls(
            ap=np.concatenate([np.empty(0), *(part.ap for part in parts)]),
            first=np.concatenate([none, *(part.first for part in parts)]),
            found=np.concatenate([none, *(part.found for part in parts)]),
            matches=np.concatenate([none, *(part.matches for part in parts)]),
            status=np.concatenate([none, *(part.status for part in parts)]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PairScores:
    """How well people of one camera are found on another: (N, N) arrays, query camera by gallery camera. Of the
    `queries` with a true match there, the sum of their average precision `ap` and how many have it `first`, both among
    the images of that gallery camera alone."""

    queries: NDArray[np.int64]
    ap: NDArray[np.float64]
    first: NDArray[np.int64]

    def __add__(self, other: PairScores) -> PairScores:
        """Join the scores of some queries and of others; cameras that one does not know have none there."""
        size = max(len(self.queries), len(other.queries))
        return PairScores(
            queries=_grown(self.queries, size) + _grown(other.queries, size),
            ap=_grown(self.ap, size) + _grown(other.ap, size),
            first=_grown(self.first, size) + _grown(other.first, size),
        )


NO_PAIRS = PairScores(queries=np.zeros((0, 0), np.int64), ap=np.zeros((0, 0)), first=np.zeros((0, 0), np.int64))


def relations(rows: KeptRows, protocol: Protocol) -> NDArray[np.int64]:
    """(R,) what each row is to its query under a protocol: `WRONG`, `RIGHT`, `BARRED` or `UNJUDGED`."""
    query = rows.row_query
    asked = rows.pids[query]
    same, same_camera = rows.row_pids == asked, rows.row_camids == rows.camids[query]
    barred = {"cross-camera": same & same_camera, "same-camera": ~same_camera, "all": np.zeros_like(same)}[protocol]
    unjudged = (asked <= 0) | (rows.row_pids < 0)
    return np.select([unjudged, barred, same], [UNJUDGED, BARRED, RIGHT], WRONG).astype(np.int64)


def score_kept(rows: KeptRows, protocol: Protocol) -> KeptScores:
    """Score q queries; memory is O(R)."""
    status = _status(rows, protocol)
    matches = np.bincount(
        rows.match_query, weights=rows.match_count * _looked_at(rows, protocol), minlength=len(rows.pids)
    ).astype(np.int64)
    relation = relations(rows, protocol)
    compared = relation <= RIGHT
    ap, first, found = _scored(rows.row_query[compared], relation[compared] == RIGHT, matches)
    scored = status == SCORED
    return KeptScores(
        ap=np.where(scored, ap, np.nan),
        first=np.where(scored, first, 0),
        found=np.where(scored, found, 0),
        matches=np.where(scored, matches, 0),
        status=status,
    )


def score_pairs(rows: KeptRows, protocol: Protocol, cameras: int) -> PairScores:
    """Score q queries camera by camera, N = `cameras`; memory is O(R + q x N)."""
    asked = (_status(rows, protocol) == SCORED) & (rows.camids >= 0)
    here = asked[rows.match_query] & _looked_at(rows, protocol) & (rows.match_count > 0)
    matches = np.zeros(len(rows.pids) * cameras, np.int64)
    matches[rows.match_query[here] * cameras + rows.match_camid[here]] = rows.match_count[here]

    relation = relations(rows, protocol)
    compared = relation <= RIGHT
    pair = rows.row_query[compared] * cameras + rows.row_camids[compared]
    # Stable: within a pair, rows stay nearest first.
    order = np.argsort(pair, kind="stable")
    ap, first, _ = _scored(pair[order], (relation[compared] == RIGHT)[order], matches)

    counted = np.flatnonzero(matches)
    cell = rows.camids[counted // cameras] * cameras + counted % cameras

    def table(weights: NDArray[np.floating] | NDArray[np.bool_]) -> NDArray[np.float64]:
        counts = np.bincount(cell, weights=weights.astype(np.float64), minlength=cameras**2)
        return counts.astype(np.float64).reshape(cameras, cameras)

    return PairScores(
        queries=table(np.ones(len(cell))).astype(np.int64),
        ap=table(ap[counted]),
        first=table(first[counted] == 1).astype(np.int64),
    )


def mean_interval(values: NDArray[np.float64], pids: NDArray[np.int64], *, seed: int = 0) -> Difference:
    """The mean of N fractions in percent, with its 95 % interval: identities are drawn again, each with all its values.

    Raises UsageError for fewer than two identities.
    """
    return gain_interval(np.zeros_like(values), values, pids, seed=seed)


def gain_interval(
    first: NDArray[np.float64], second: NDArray[np.float64], pids: NDArray[np.int64], *, seed: int = 0
) -> Difference:
    """By how much the mean of `second` is above that of `first`, N fractions each of the same items; as `compare_means`
    in time and memory that do not grow with the identities. Raises UsageError for fewer than two identities."""
    whose = np.unique(pids, return_inverse=True)[1]
    return compare_means(first, second, np.asarray(whose % GROUPS, np.int64), seed=seed)


def _status(rows: KeptRows, protocol: Protocol) -> NDArray[np.int64]:
    """(q,) the first reason that holds, or `SCORED`."""
    q = len(rows.pids)
    everywhere = np.bincount(rows.match_query, weights=rows.match_count, minlength=q)
    admitted = np.bincount(rows.match_query, weights=rows.match_count * _looked_at(rows, protocol), minlength=q)
    own_admitted = np.zeros(q) if protocol == "cross-camera" else rows.own
    other_camera = SAME_CAMERA_ONLY if protocol == "cross-camera" else OTHER_CAMERA_ONLY
    reasons = {
        UNKNOWN: rows.pids == UNKNOWN_PID,
        JUNK: rows.pids == -1,
        DISTRACTOR: rows.pids == 0,
        ABSENT: everywhere + rows.own == 0,
        other_camera: admitted + own_admitted == 0,
        ITSELF_ONLY: admitted == 0,
    }
    return np.select(list(reasons.values()), list(reasons), default=SCORED).astype(np.int64)


def _looked_at(rows: KeptRows, protocol: Protocol) -> NDArray[np.bool_]:
    """(m,) whether the protocol looks for matches on that camera."""
    same_camera = rows.match_camid == rows.camids[rows.match_query]
    if protocol == "cross-camera":
        return np.asarray(~same_camera)
    return np.asarray(same_camera) if protocol == "same-camera" else np.ones_like(same_camera)


def _scored(
    list_: NDArray[np.int64], right: NDArray[np.bool_], matches: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Average precision, rank of the first match and matches found of each list of rows, `list_` ascending, of which
    `right` ones are true; `matches` (lists,) is how many of those there are anywhere."""
    size = len(matches)
    lengths = np.bincount(list_, minlength=size)
    rank = np.arange(1, len(list_) + 1) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    hits, hit_rank = list_[right], rank[right]
    found = np.bincount(hits, minlength=size)
    ordinal = np.arange(1, len(hits) + 1) - np.repeat(np.cumsum(found) - found, found)
    first = np.zeros(size, np.int64)
    first[hits[ordinal == 1]] = hit_rank[ordinal == 1]
    precision = np.bincount(hits, weights=ordinal / hit_rank, minlength=size)
    return precision / np.maximum(matches, 1), first, found.astype(np.int64)


def _grown(values: NDArray[Any], size: int) -> NDArray[Any]:
    return np.pad(values, (0, size - len(values)))
