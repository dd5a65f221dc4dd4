"""The store as bulk re-identification sees it: rankings kept under names, read as a whole or a few queries of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vestigo.store.crops.reader import placed
from vestigo.store.parquet.schemas import QUERIES, RANKING, TRUTH
from vestigo.store.rankings import queries as rankings
from vestigo.store.rankings.records import Ranking
from vestigo.store.runs.repository import DrivingStore
from vestigo_models.errors import StoreError

SCAN_ROWS = 16384


class RankingStore(DrivingStore):
    """A `Ranking` names its own files: what is read through it stays the same when another one takes its name, for as
    long as vacuum leaves retired files alone."""

    def save_ranking(
        self,
        name: str,
        *,
        model: str,
        rows: pa.Table | Iterable[pa.RecordBatch],
        queries: pa.Table | Iterable[pa.RecordBatch],
        settings: Mapping[str, Any],
    ) -> int:
        """Keep a ranking under `name`, in place of an older one; return its rows.

        `rows` have the columns of `schema.RANKING`, those of a query together and nearest first, in the order of the
        `queries`, which have those of `schema.QUERIES`; `settings` is JSON.

        Raises StoreError for an unknown model or other columns.
        """
        files = [
            self._root.write("ranking", rankings.RANKINGS, 0, rows, RANKING),
            self._root.write("queries", rankings.RANKINGS, 0, queries, QUERIES),
        ]
        for file in files:
            self._require_written(file)
        with self._db.write() as session:
            rankings.save(session, name, model, settings, *files)
        return files[0].rows

    def rankings(self) -> list[Ranking]:
        """Return the kept rankings, newest first."""
        with self._db.read() as session:
            return rankings.rankings(session)

    def ranking(self, name: str) -> Ranking:
        """Return a kept ranking. Raises StoreError for an unknown name, listing those there are."""
        with self._db.read() as session:
            return rankings.find(session, name)

    def scan_ranking(self, ranking: Ranking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a ranking in order, all columns by default; memory is one batch.

        Raises StoreError where its file is gone, and for columns that it is too old to have.
        """
        self._require_columns(ranking, columns or ())
        return self._root.read(ranking.path, columns, SCAN_ROWS)

    def scan_queries(self, ranking: Ranking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the queries of a ranking, as `scan_ranking`; of one that is too old to have any, none."""
        return iter(()) if ranking.queries_path is None else self._root.read(ranking.queries_path, columns)

    def ranking_rows(self, ranking: Ranking, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows with some numbers, counted from 0, in their order; only what holds them is read.

        Raises StoreError as `scan_ranking`.
        """
        self._require_columns(ranking, columns)
        return [row for batch in placed(self._root, ranking.path, numbers, columns) for row in batch.to_pylist()]

    def ranking_queries(self, ranking: Ranking, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return the queries with some numbers, as `ranking_rows`; of a ranking that is too old to have any, none."""
        if ranking.queries_path is None:
            return []
        batches = placed(self._root, ranking.queries_path, numbers, columns)
        return [row for batch in batches for row in batch.to_pylist()]

    def _require_columns(self, ranking: Ranking, columns: Sequence[str]) -> None:
        if ranking.queries_path is None and not set(TRUTH.names).isdisjoint(columns):
            raise StoreError(f"ranking {ranking.name} is older than the truth is kept with rankings: rank again")
