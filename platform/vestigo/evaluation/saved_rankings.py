"""Score a saved ranking by the identities that were saved with it, in one pass with a few numbers kept per query."""

from collections.abc import Callable, Iterator
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
        return _unscored(rankings, ranking)
    cameras: dict[str, int] = {}
    read_rows = _row_reader(rankings.scan(ranking, ["pid", "camera"]), cameras)
    names: list[pa.Array] = []
    scores: list[TruncatedScores] = []
    identities: list[Int64Array] = [np.empty((3, 0), np.int64)]
    pairs, done = NO_PAIRS, 0
    for batch in rechunk(rankings.scan_queries(ranking, QUERY_COLUMNS), QUERIES_AT_ONCE):
        part = _truncated_rows(batch, read_rows, cameras)
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


def _row_reader(batches: Iterator[pa.RecordBatch], cameras: dict[str, int]) -> Callable[[int], Int64Array]:
    """Return a function that reads the identities and cameras of the next n rows of a ranking, (2, n)."""
    held: Int64Array = np.empty((2, 0), np.int64)

    def read(count: int) -> Int64Array:
        nonlocal held
        while held.shape[1] < count:
            batch = next(batches)
            rows = np.stack([pid_codes(batch.column("pid")), camera_codes(batch.column("camera"), cameras)])
            held = np.concatenate([held, rows], axis=1)
        rows, held = held[:, :count], held[:, count:]
        return rows

    return read


def _truncated_rows(
    batch: pa.RecordBatch, read_rows: Callable[[int], Int64Array], cameras: dict[str, int]
) -> TruncatedRows:
    starts = _starts(batch.column("rows").to_numpy())
    row_pids, row_camids = read_rows(int(starts[-1]))
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


def _unscored(rankings: RankingRepository, ranking: SavedRanking) -> RankingScores:
    """Return the queries of a ranking that was saved without a list of them."""
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
    zeros = np.zeros(len(names), np.int64)
    unknown, ap = np.full(len(names), UNKNOWN), np.full(len(names), np.nan)
    return RankingScores(
        names=pa.array(names, pa.string()),
        starts=_starts(np.array(counts, np.int64)),
        pids=np.full(len(names), UNKNOWN_PID),
        camids=np.full(len(names), UNKNOWN_CAMERA),
        cameras=(),
        scores=TruncatedScores(ap=ap, first=zeros, retrieved=zeros, matches=zeros, status=unknown),
        pairs=NO_PAIRS,
    )


def _starts(lengths: Int64Array) -> Int64Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
