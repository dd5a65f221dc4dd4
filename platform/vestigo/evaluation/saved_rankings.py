"""A kept ranking under its truth: read once in batches, and a few numbers a query remembered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol as Shape

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo.evaluation.metrics.ranking import Protocol
from vestigo.evaluation.metrics.truncated import (
    NO_PAIRS,
    NOBODY_KNOWS,
    KeptRows,
    KeptScores,
    PairScores,
    score_kept,
    score_pairs,
)
from vestigo.search.gallery import EVERYWHERE, Archive, Scope, label_batches
from vestigo.store.parquet.files import rechunk
from vestigo.store.rankings.records import Ranking
from vestigo.store.runs.records import Model

NOWHERE = -1
"""The camera of a crop that the archive no longer has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What an archive knows of n crops, and of everybody in its gallery, the crops that were in scope.

    Attributes:
        ids: (n,) bytes, ascending.
        pids, camids: (n,) int64; `NOBODY_KNOWS` and `NOWHERE`, else positions in `cameras`.
        in_gallery: (n,) bool.
        matches: pid -> camera (position) -> crops of the gallery.
    """

    cameras: list[str]
    ids: NDArray[np.bytes_]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    in_gallery: NDArray[np.bool_]
    matches: dict[int, dict[int, int]]

    @classmethod
    def of(cls, archive: Archive, model: Model, scope: Scope, ids: NDArray[np.bytes_]) -> Truth:
        """Ask an archive about crops (ascending, none twice): a pass over ids and labels, two where `scope` is narrow.

        Memory is O(n + labelled people x cameras).
        """
        cameras: dict[str, int] = {}
        pids, camids = np.full(len(ids), NOBODY_KNOWS), np.full(len(ids), NOWHERE)
        in_gallery = np.zeros(len(ids), np.bool_)
        crops: Counter[tuple[int, int]] = Counter()
        for known, whole in ((EVERYWHERE, True), (scope, False)) if scope != EVERYWHERE else ((EVERYWHERE, False),):
            for batch in label_batches(archive, model, known):
                persons = coded_pids(batch.column("pid"))
                places = coded_cameras(batch.column("camera"), cameras)
                rows, here = _placed(ids, batch.column("crop_id"))
                pids[here], camids[here] = persons[rows], places[rows]
                if not whole:
                    in_gallery[here] = True
                    named = persons != NOBODY_KNOWS
                    seen, counts = np.unique(np.stack([persons[named], places[named]]), axis=1, return_counts=True)
                    crops.update(dict(zip(map(tuple, seen.T.tolist()), counts.tolist(), strict=True)))
        matches: dict[int, dict[int, int]] = defaultdict(dict)
        for (pid, camid), count in crops.items():
            matches[pid][camid] = count
        return cls(
            cameras=list(cameras), ids=ids, pids=pids, camids=camids, in_gallery=in_gallery, matches=dict(matches)
        )

    def places(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Where crops stand in `ids`; all of them must."""
        return np.asarray(np.searchsorted(self.ids, ids))


def distinct(ids: Iterable[NDArray[np.bytes_]]) -> NDArray[np.bytes_]:
    """Ids ascending, none twice, without the empty one that stands for no crop."""
    found = np.unique(np.concatenate([np.empty(0, "S1"), *(np.unique(some) for some in ids)]))
    return np.asarray(found[found != b""])


def coded_pids(column: pa.Array) -> NDArray[np.int64]:
    """Identities as int64, `NOBODY_KNOWS` for null."""
    return np.asarray(column.cast(pa.int64()).fill_null(NOBODY_KNOWS).to_numpy(zero_copy_only=False))


def coded_cameras(column: pa.Array, cameras: dict[str, int]) -> NDArray[np.int64]:
    """Cameras as positions in `cameras`, which takes in new ones; `NOWHERE` for null."""
    encoded = column.dictionary_encode()
    codes = [cameras.setdefault(name, len(cameras)) for name in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*codes, NOWHERE], np.int64)[places])


def _placed(ids: NDArray[np.bytes_], batch: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows of a batch are among `ids`, and where there."""
    if not len(ids):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    names = batch.to_numpy(zero_copy_only=False).astype("S")
    places = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
    rows = np.flatnonzero(ids[places] == names)
    return rows, places[rows]


QUERIES_AT_ONCE = 4096
QUERY_COLUMNS = ("query", "pid", "camera", "rows", "own", "matches")


class KeptRankings(Shape):
    """The part of `vestigo.store.Store` that kept rankings are read from."""

    def scan_ranking(self, ranking: Ranking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, batch by batch."""
        ...

    def scan_queries(self, ranking: Ranking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
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
    store: KeptRankings, ranking: Ranking, protocol: Protocol, advance: Callable[[int], None] = lambda queries: None
) -> JudgedRanking:
    """Judge a ranking by the truth that it was kept with; `advance` hears how many queries are done.

    Where nobody knows who the queries are, as in a ranking that is older than the truth is kept, none is scored. Memory
    is O(Q + cameras^2) and a batch. Raises StoreError where its files are gone.
    """
    if ranking.queries_path is None:
        return _unjudged(*_found_in_rows(store, ranking), protocol)
    cameras: dict[str, int] = {}
    rows = _Rows(store.scan_ranking(ranking, ["pid", "camera"]), cameras)
    names: list[pa.Array] = []
    pids: list[NDArray[np.int64]] = []
    camids: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []
    scores: list[KeptScores] = []
    pairs, done = NO_PAIRS, 0
    for batch in rechunk(store.scan_queries(ranking, QUERY_COLUMNS), QUERIES_AT_ONCE):
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
            pids.append(coded_pids(batch.column("pid")))
            camids.append(coded_cameras(batch.column("camera"), self._cameras))
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
        pids=coded_pids(batch.column("pid")),
        camids=coded_cameras(batch.column("camera"), cameras),
        own=batch.column("own").to_numpy().astype(np.int64),
        starts=starts,
        row_pids=row_pids,
        row_camids=row_camids,
        match_query=np.repeat(np.arange(batch.num_rows), lengths),
        match_camid=coded_cameras(camera, cameras),
        match_count=crops.to_numpy(zero_copy_only=False).astype(np.int64),
    )


def _found_in_rows(store: KeptRankings, ranking: Ranking) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """The names of the queries of a ranking that does not list them, and how many rows each has."""
    names: list[str] = []
    counts: list[int] = []
    for batch in store.scan_ranking(ranking, ["query"]):
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
        pids=np.full(len(names), NOBODY_KNOWS),
        camids=np.full(len(names), NOWHERE),
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
