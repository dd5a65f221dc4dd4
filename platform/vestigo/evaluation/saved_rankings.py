"""Score a saved ranking by the identities that were saved with it, in one pass with a few numbers kept per query."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.evaluation.metrics.truncated import (
    NO_PAIRS,
    UNKNOWN,
    UNKNOWN_CAMERA,
    UNKNOWN_PID,
    CameraPairScores,
    TruncatedRows,
    TruncatedScores,
    score_camera_pairs,
    score_truncated,
)
from vestigo.retrieval.truth import camera_codes, pid_codes
from vestigo.store.parquet.files import rechunk
from vestigo.store.rankings.repository import RankingRepository, SavedRanking
from vestigo_models.arrays import Int64Array
from vestigo_models.progress import ProgressCallback, ignore_progress

QUERIES_AT_ONCE = 4096
QUERY_COLUMNS = ("query", "pid", "camera", "rows", "own", "matches")
_EMPTY = np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingScores:
    """Scores of Q queries, and by pair of cameras."""

    names: pa.StringArray
    starts: Int64Array  # (Q + 1,) int64, the rows of query i are starts[i] to starts[i + 1]
    pids: Int64Array  # (Q,) int64
    camids: Int64Array  # (Q,) int64, positions in `cameras`
    cameras: tuple[str, ...]
    scores: TruncatedScores
    pairs: CameraPairScores

    def __len__(self) -> int:
        return len(self.names)


def score_ranking(
    rankings: RankingRepository, ranking: SavedRanking, protocol: Protocol, progress: ProgressCallback = ignore_progress
) -> RankingScores:
    """Score a ranking by the identities that were saved with it; memory is O(Q + cameras^2) and a batch.

    Queries with unknown identities are not scored, nor are rankings that older versions saved without identities.
    """
    if ranking.queries_path is None:
        return _unscored(*_queries_of_rows(rankings, ranking))
    cameras: dict[str, int] = {}
    rows = _RowReader(rankings.scan(ranking, ["pid", "camera"]), cameras)
    names: list[pa.Array] = []
    scores: list[TruncatedScores] = []
    identities: list[Int64Array] = [np.empty((3, 0), np.int64)]
    pairs, done = NO_PAIRS, 0
    for batch in rechunk(rankings.scan_queries(ranking, QUERY_COLUMNS), QUERIES_AT_ONCE):
        part = _truncated_rows(batch, rows, cameras)
        names.append(batch.column("query"))
        scores.append(score_truncated(part, protocol))
        pairs += score_camera_pairs(part, protocol, len(cameras))
        identities.append(np.stack([part.pids, part.camids, np.diff(part.starts)]))
        done += batch.num_rows
        progress(done, None)
    pids, camids, lengths = np.concatenate(identities, axis=1)
    return RankingScores(
        names=pa.concat_arrays([pa.array([], pa.string()), *names]),
        starts=_starts(lengths),
        pids=pids,
        camids=camids,
        cameras=tuple(cameras),
        scores=TruncatedScores.merge(scores),
        pairs=pairs,
    )


class _RowReader:
    """Reads the identities and cameras of a ranking's rows in order."""

    def __init__(self, batches: Iterator[pa.RecordBatch], cameras: dict[str, int]) -> None:
        self._batches = batches
        self._cameras = cameras
        self._pids: Int64Array = _EMPTY
        self._camids: Int64Array = _EMPTY

    def read(self, count: int) -> tuple[Int64Array, Int64Array]:
        """Return the identities and cameras of the next rows."""
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


def _truncated_rows(batch: pa.RecordBatch, rows: _RowReader, cameras: dict[str, int]) -> TruncatedRows:
    starts = _starts(batch.column("rows").to_numpy())
    row_pids, row_camids = rows.read(int(starts[-1]))
    matches = batch.column("matches")
    lengths = pc.list_value_length(matches).fill_null(0).to_numpy(zero_copy_only=False)
    camera, crops = matches.flatten().flatten()
    return TruncatedRows(
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


def _queries_of_rows(rankings: RankingRepository, ranking: SavedRanking) -> tuple[pa.StringArray, Int64Array]:
    """Return the names of the queries of a ranking without a list of them, and the number of rows of each."""
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


def _unscored(names: pa.StringArray, counts: Int64Array) -> RankingScores:
    zeros, unknown = np.zeros(len(names), np.int64), np.full(len(names), UNKNOWN)
    ap = np.full(len(names), np.nan)
    return RankingScores(
        names=names,
        starts=_starts(counts),
        pids=np.full(len(names), UNKNOWN_PID),
        camids=np.full(len(names), UNKNOWN_CAMERA),
        cameras=(),
        scores=TruncatedScores(ap=ap, first=zeros, retrieved=zeros, matches=zeros, status=unknown),
        pairs=NO_PAIRS,
    )


def _starts(lengths: Int64Array) -> Int64Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
