"""Metrics of a saved ranking, which holds only the nearest crops of each query.

Scores are those of `vestigo.evaluation.metrics.ranking`. A true match beyond the saved depth counts as not retrieved:
average precision is then a lower bound, and exact if all matches were retrieved. Symbols: q queries, R rows of all of
them, N cameras.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.metrics.bootstrap import Difference, compare_means
from vestigo.evaluation.metrics.ranking import (
    REASONS,
    SCORED,
    Protocol,
    concatenate,
    count_hits,
    is_admitted,
    number_matches,
    query_status,
)
from vestigo_models.arrays import BoolArray, Float64Array, Int64Array

UNKNOWN_PID = -2
UNKNOWN_CAMERA = -1
UNKNOWN = 7
TRUNCATED_REASONS = REASONS | {UNKNOWN: "identity of the query unknown"}

FALSE_MATCH, TRUE_MATCH, NOT_COMPARED, UNLABELLED = range(4)
"""Relation of a row to its query: another identity, the same one, not compared under the protocol, or unknown because
one of the two identities is."""

GROUPS = 5000
"""Identities are resampled in at most this many groups, which bounds time and memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TruncatedRows:
    """Saved rows of q queries, and the matches that the gallery has; all int64."""

    pids: Int64Array  # (q,) of the queries
    camids: Int64Array  # (q,) of the queries
    own: Int64Array  # (q,) crops of the gallery that a query is made of: on its camera, of its identity, never ranked
    starts: Int64Array  # (q + 1,) the rows of query i are starts[i] to starts[i + 1], nearest first
    row_pids: Int64Array  # (R,) of the rows
    row_camids: Int64Array  # (R,) of the rows
    # (m,) crops of a query's identity in the gallery by camera, without its own; each pair at most once
    match_query: Int64Array
    match_camid: Int64Array
    match_count: Int64Array

    @property
    def row_query(self) -> Int64Array:
        """(R,) the query of each row."""
        return np.repeat(np.arange(len(self.pids)), np.diff(self.starts))

    def admitted(self, protocol: Protocol) -> Int64Array:
        """Return (m,) the counts of matches, 0 on cameras on which the protocol looks for none."""
        return self.match_count * is_admitted(self.match_camid == self.camids[self.match_query], protocol)


@dataclass(frozen=True, kw_only=True, eq=False)
class TruncatedScores:
    """Scores of q queries."""

    ap: Float64Array  # (q,) float64, average precision as a fraction, NaN if excluded
    first: Int64Array  # (q,) int64, rank of the first match from 1 among the compared rows, 0 without
    retrieved: Int64Array  # (q,) int64, true matches among the rows
    matches: Int64Array  # (q,) int64, true matches in the gallery
    status: Int64Array  # (q,) int64, `SCORED` or a key of `TRUNCATED_REASONS`

    @property
    def scored(self) -> BoolArray:
        """(q,) whether a query is scored."""
        return np.asarray(self.status == SCORED)

    @property
    def missed(self) -> int:
        """True matches of scored queries that are beyond the saved depth or discarded by a filter."""
        return int((self.matches - self.retrieved)[self.scored].sum())

    @property
    def excluded(self) -> dict[str, int]:
        """Reason -> number of queries that are not scored."""
        codes, counts = np.unique(self.status[~self.scored], return_counts=True)
        return {TRUNCATED_REASONS[int(code)]: int(count) for code, count in zip(codes, counts, strict=True)}

    def cmc(self, depth: int) -> Float64Array:
        """Return (depth,) shares of scored queries whose first match has rank 1, 2, ... or less; NaN if none is."""
        first = self.first[self.scored]
        return count_hits(first, depth) / len(first) if len(first) else np.full(depth, np.nan)

    @classmethod
    def merge(cls, parts: Iterable[TruncatedScores]) -> TruncatedScores:
        """Concatenate scores; no query without parts."""
        parts = list(parts)
        counts = concatenate(parts, ("first", "retrieved", "matches", "status"), np.int64)
        return cls(**concatenate(parts, ("ap",), np.float64), **counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraPairScores:
    """Scores by pair of cameras, (N, N) arrays of query camera by gallery camera."""

    queries: Int64Array  # Queries with a true match on the gallery camera
    ap: Float64Array  # Sum of their average precision among the images of that camera
    first: Int64Array  # How many of them have a true match first among those

    def __add__(self, other: CameraPairScores) -> CameraPairScores:
        """Add scores; cameras that one of them lacks have no queries there."""
        size = max(len(self.queries), len(other.queries))

        def add(name: str) -> NDArray[Any]:
            ours, theirs = getattr(self, name), getattr(other, name)
            return np.asarray(np.pad(ours, (0, size - len(ours))) + np.pad(theirs, (0, size - len(theirs))))

        return CameraPairScores(queries=add("queries"), ap=add("ap"), first=add("first"))


NO_PAIRS = CameraPairScores(queries=np.zeros((0, 0), np.int64), ap=np.zeros((0, 0)), first=np.zeros((0, 0), np.int64))


def row_relations(rows: TruncatedRows, protocol: Protocol) -> Int64Array:
    """Return (R,) `FALSE_MATCH`, `TRUE_MATCH`, `NOT_COMPARED` or `UNLABELLED` for each row."""
    query = rows.row_query
    query_pids = rows.pids[query]
    same, same_camera = rows.row_pids == query_pids, rows.row_camids == rows.camids[query]
    excluded = {"cross-camera": same & same_camera, "same-camera": ~same_camera, "all": np.zeros_like(same)}[protocol]
    unlabelled = (query_pids <= 0) | (rows.row_pids < 0)
    relations = np.select([unlabelled, excluded, same], [UNLABELLED, NOT_COMPARED, TRUE_MATCH], FALSE_MATCH)
    return relations.astype(np.int64)


def score_truncated(rows: TruncatedRows, protocol: Protocol) -> TruncatedScores:
    """Score q queries; memory is O(R)."""
    status = _status(rows, protocol)
    matches = _count_by_query(rows, rows.admitted(protocol))
    relations = row_relations(rows, protocol)
    compared = relations <= TRUE_MATCH
    ap, first, retrieved = _score_lists(rows.row_query[compared], relations[compared] == TRUE_MATCH, matches)
    scored = status == SCORED
    return TruncatedScores(
        ap=np.where(scored, ap, np.nan),
        first=np.where(scored, first, 0),
        retrieved=np.where(scored, retrieved, 0),
        matches=np.where(scored, matches, 0),
        status=status,
    )


def score_camera_pairs(rows: TruncatedRows, protocol: Protocol, cameras: int) -> CameraPairScores:
    """Score q queries by pair of cameras, N = `cameras`; memory is O(R + q x N)."""
    is_scored = (_status(rows, protocol) == SCORED) & (rows.camids >= 0)
    counted = is_scored[rows.match_query] & (rows.admitted(protocol) > 0)
    matches = np.zeros(len(rows.pids) * cameras, np.int64)
    matches[rows.match_query[counted] * cameras + rows.match_camid[counted]] = rows.match_count[counted]

    relations = row_relations(rows, protocol)
    compared = relations <= TRUE_MATCH
    pair = rows.row_query[compared] * cameras + rows.row_camids[compared]
    # Stable: within a pair, rows stay nearest first.
    order = np.argsort(pair, kind="stable")
    ap, first, _ = _score_lists(pair[order], (relations[compared] == TRUE_MATCH)[order], matches)

    pairs = np.flatnonzero(matches)
    cell = rows.camids[pairs // cameras] * cameras + pairs % cameras

    def table(weights: NDArray[Any]) -> Float64Array:
        counts = np.bincount(cell, weights=weights.astype(np.float64), minlength=cameras**2)
        return counts.astype(np.float64).reshape(cameras, cameras)

    return CameraPairScores(
        queries=table(np.ones(len(cell))).astype(np.int64),
        ap=table(ap[pairs]),
        first=table(first[pairs] == 1).astype(np.int64),
    )


def mean_interval(values: Float64Array, pids: Int64Array) -> Difference:
    """Return the mean of N fractions in percent with its 95 % interval; see `gain_interval`."""
    return gain_interval(np.zeros_like(values), values, pids)


def gain_interval(first: Float64Array, second: Float64Array, pids: Int64Array) -> Difference:
    """Return the gain of the mean of `second` over that of `first`, N fractions each of the same items.

    As `compare_means`, in time and memory that do not grow with the identities.
    """
    positions = np.unique(pids, return_inverse=True)[1]
    return compare_means(first, second, np.asarray(positions % GROUPS, np.int64))


def _status(rows: TruncatedRows, protocol: Protocol) -> Int64Array:
    """Return (q,) the first reason that holds, or `SCORED`."""
    everywhere = _count_by_query(rows, rows.match_count) + rows.own
    matches = _count_by_query(rows, rows.admitted(protocol))
    admitted = matches if protocol == "cross-camera" else matches + rows.own
    status = query_status(rows.pids, everywhere > 0, admitted > 0, matches > 0, protocol)
    return np.where(rows.pids == UNKNOWN_PID, UNKNOWN, status)


def _count_by_query(rows: TruncatedRows, counts: Int64Array) -> Int64Array:
    return np.bincount(rows.match_query, weights=counts, minlength=len(rows.pids)).astype(np.int64)


def _score_lists(
    lists: Int64Array, is_match: BoolArray, matches: Int64Array
) -> tuple[Float64Array, Int64Array, Int64Array]:
    """Return average precision, rank of the first match and retrieved matches of ranked lists.

    `lists` (r,) is the list of each row, ascending; `matches` (lists,) the true matches in the gallery.
    """
    size = len(matches)
    lengths = np.bincount(lists, minlength=size)
    rank = np.arange(1, len(lists) + 1) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    hits, hit_rank = lists[is_match], rank[is_match]
    ordinal, first = number_matches(hits, hit_rank, size)
    precision = np.bincount(hits, weights=ordinal / hit_rank, minlength=size)
    return precision / np.maximum(matches, 1), first, np.bincount(hits, minlength=size).astype(np.int64)
