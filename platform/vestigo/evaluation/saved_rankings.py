"""A kept ranking under its truth: read once in batches, and a few numbers a query remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol as Shape

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.evaluation.metrics.truncated import (
    NO_PAIRS,
    UNKNOWN_CAMERA,
    UNKNOWN_PID,
    KeptRows,
    KeptScores,
    PairScores,
    score_kept,
    score_pairs,
)
from vestigo.retrieval.truth import camera_codes, pid_codes
from vestigo.store.parquet.files import rechunk
from vestigo.store.rankings.repository import SavedRanking

QUERIES_AT_ONCE = 4096
QUERY_COLUMNS = ("query", "pid", "camera", "rows", "own", "matches")


class KeptRankings(Shape):
    """The part of `vestigo.store.rankings.repository.RankingRepository` that evaluation reads."""

    def scan(self, ranking: SavedRanking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, batch by batch."""
        ...

    def scan_queries(self, ranking: SavedRanking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The queries, batch by batch."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedRanking:
    """What is remembered of Q queries: their `names`, the rows of each (`starts`, (Q + 1,)), who they are (`pids`) and
    where (`camids`, positions in `cameras`), their scores, and those of pairs of cameras. int64."""

    names: pa.StringArray
    starts: NDArray[np.int64]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    cameras: tuple[str, ...]
    scores: KeptScores
    pairs: PairScores

    def __len__(self) -> int:
        return len(self.names)

    def rows_of(self, queries: Sequence[int]) -> list[int]:
        """The numbers of all rows of some queries, one query after the other."""
        return [row for query in queries for row in range(int(self.starts[query]), int(self.starts[query + 1]))]


def judge(
    rankings: KeptRankings,
    ranking: SavedRanking,
    protocol: Protocol,
    advance: Callable[[int], None] = lambda queries: None,
) -> JudgedRanking:
    """Judge a ranking by the truth that it was kept with; `advance` hears how many queries are done.

    Where nobody knows who the queries are, as in a ranking that is older than the truth is kept, none is scored. Memory
    is O(Q + cameras^2) and a batch. Raises StoreError where its files are gone.
    """
    if ranking.queries_path is None:
        return _unjudged(*_found_in_rows(rankings, ranking), protocol)
    cameras: dict[str, int] = {}
    rows = _Rows(rankings.scan(ranking, ["pid", "camera"]), cameras)
    names: list[pa.Array] = []
    pids: list[NDArray[np.int64]] = []
    camids: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []
    scores: list[KeptScores] = []
    pairs, done = NO_PAIRS, 0
    for batch in rechunk(rankings.scan_queries(ranking, QUERY_COLUMNS), QUERIES_AT_ONCE):
        part = _kept_rows(batch, rows, cameras)
        names.append(batch.column("query"))
        scores.append(score_kept(part, protocol))
        pairs += score_pairs(part, protocol, len(cameras))
        pids.append(part.pids)
        camids.append(part.camids)
        lengths.append(np.diff(part.starts))
        done += batch.num_rows
        advance(done)
    none = np.empty(0, np.int64)
    return JudgedRanking(
        names=pa.concat_arrays([pa.array([], pa.string()), *names]),
        starts=np.concatenate([[0], np.cumsum(np.concatenate([none, *lengths]))]).astype(np.int64),
        pids=np.concatenate([none, *pids]),
        camids=np.concatenate([none, *camids]),
        cameras=tuple(cameras),
        scores=KeptScores.merge(scores),
        pairs=pairs,
    )


class _Rows:
    """The rows of a ranking as codes, taken from the front."""

    def __init__(self, batches: Iterator[pa.RecordBatch], cameras: dict[str, int]) -> None:
        self._batches = batches
        self._cameras = cameras
        self._pids: NDArray[np.int64] = np.empty(0, np.int64)
        self._camids: NDArray[np.int64] = np.empty(0, np.int64)

    def take(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The identities and cameras of the next rows."""
        pids, camids = [self._pids], [self._camids]
        held = len(self._pids)
        while held < count:
            batch = next(self._batches)
            pids.append(pid_codes(batch.column("pid")))
            camids.append(camera_codes(batch.column("camera"), self._cameras))
            held += batch.num_rows
        all_pids, all_camids = np.concatenate(pids), np.concatenate(camids)
        self._pids, self._camids = all_pids[count:], all_camids[count:]
        return all_pids[:count], all_camids[:count]


def _kept_rows(batch: pa.RecordBatch, rows: _Rows, cameras: dict[str, int]) -> KeptRows:
    starts = np.concatenate([[0], np.cumsum(batch.column("rows").to_numpy())]).astype(np.int64)
    row_pids, row_camids = rows.take(int(starts[-1]))
    matches = batch.column("matches")
    lengths = pc.list_value_length(matches).fill_null(0).to_numpy(zero_copy_only=False)
    camera, crops = matches.flatten().flatten()
    return KeptRows(
        pids=pid_codes(batch.column("pid")),
        camids=camera_codes(batch.column("camera"), cameras),
        own=batch.column("own").to_numpy().astype(np.int64),
        starts=starts,
        row_pids=row_pids,
        row_camids=row_camids,
        match_query=np.repeat(np.arange(batch.num_rows), lengths),
        match_camid=camera_codes(camera, cameras),
        match_count=crops.to_numpy(zero_copy_only=False).astype(np.int64),
    )


def _found_in_rows(rankings: KeptRankings, ranking: SavedRanking) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """The names of the queries of a ranking that does not list them, and how many rows each has."""
    names: list[str] = []
    counts: list[int] = []
    for batch in rankings.scan(ranking, ["query"]):
        runs = pc.run_end_encode(batch.column("query"))
        ends = runs.run_ends.to_numpy()
        for name, count in zip(runs.values.to_pylist(), np.diff(ends, prepend=0).tolist(), strict=True):
            if names and names[-1] == name:
                counts[-1] += count
            else:
                names.append(name)
                counts.append(count)
    return pa.array(names, pa.string()), np.array(counts, np.int64)


def _unjudged(names: pa.StringArray, counts: NDArray[np.int64], protocol: Protocol) -> JudgedRanking:
    none = np.empty(0, np.int64)
    rows = KeptRows(
        pids=np.full(len(names), UNKNOWN_PID),
        camids=np.full(len(names), UNKNOWN_CAMERA),
        own=np.zeros(len(names), np.int64),
        starts=np.zeros(len(names) + 1, np.int64),
        row_pids=none,
        row_camids=none,
        match_query=none,
        match_camid=none,
        match_count=none,
    )
    return JudgedRanking(
        names=names,
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        pids=rows.pids,
        camids=rows.camids,
        cameras=(),
        scores=score_kept(rows, protocol),
        pairs=NO_PAIRS,
    )
