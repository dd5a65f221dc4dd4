"""Saved rankings: rows and queries in Parquet, the name in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import select, update
from sqlalchemy.orm import Session, aliased

from vestigo.store.crops.reader import rows_at
from vestigo.store.faults import fault_point
from vestigo.store.parquet.files import DataRoot
from vestigo.store.parquet.schemas import QUERIES, RANKING, TRUTH
from vestigo.store.runs.rows import add_files
from vestigo.store.sql.database import Database, to_record
from vestigo.store.sql.tables import DataFileRow, ModelRow, RankingRow
from vestigo_models.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

SCAN_ROWS = 16384
FOLDER = "rankings"
"""Folder of the files, in place of a run's id."""


@dataclass(frozen=True)
class SavedRanking:
    """A saved ranking: `rows` of `queries` under the model with digest `model`.

    Attributes:
        settings: JSON of what made it (see `vestigo.retrieval.bulk`); {} for rankings of older stores.
        digest: SHA-256 of its rows.
        path: File of its rows.
        queries_path: File of its queries; None for rankings of older stores, which also lack the truth.
    """

    name: str
    created: datetime
    model: str
    queries: int
    rows: int
    settings: dict[str, Any]
    digest: str
    path: str
    queries_path: str | None


@dataclass(frozen=True)
class RankingRepository:
    """The saved rankings of a store.

    A `SavedRanking` names its own files: its rows stay readable when another ranking takes its name, until vacuum.
    Methods raise `StoreError` for an unknown ranking, a missing file, or a column that the ranking lacks.
    """

    database: Database
    root: DataRoot

    def __call__(self, name: str | None = None) -> pd.DataFrame:
        """Return the rows of a ranking as a DataFrame, or without a name one row for each saved ranking."""
        import pandas as pd

        if name is not None:
            rows: pd.DataFrame = pa.Table.from_batches(list(self.scan(self.get(name)))).to_pandas()
            return rows
        columns = ["name", "created", "model", "queries", "rows"]
        return pd.DataFrame([[getattr(ranking, key) for key in columns] for ranking in self.list()], columns=columns)

    def save(
        self,
        name: str,
        *,
        model: str,
        rows: pa.Table | Iterable[pa.RecordBatch],
        queries: pa.Table | Iterable[pa.RecordBatch],
        settings: Mapping[str, Any],
    ) -> int:
        """Save a ranking under `name`, in place of an older one, and return its number of rows.

        `rows` have the columns of `RANKING`: those of a query together, nearest first, in the order of `queries`, which
        have the columns of `QUERIES`.

        Raises:
            StoreError: If the model is not registered or columns are others.
        """
        with self.root.pending(FOLDER):
            files = [
                self.root.write("ranking", FOLDER, 0, rows, RANKING),
                self.root.write("queries", FOLDER, 0, queries, QUERIES),
            ]
            for file in files:
                self.root.require_written(file)
            fault_point("ranking.before")
            now = datetime.now(UTC)

            def save(session: Session) -> None:
                if session.get(ModelRow, model) is None:
                    raise StoreError(f"model {model} is not registered in the store: register it before the ranking")
                file_ids = add_files(session, files)
                row = session.get(RankingRow, name, with_for_update=True)
                if row is None:
                    row = RankingRow(name=name)
                    session.add(row)
                else:
                    replaced = DataFileRow.id.in_([row.data_file_id, row.queries_file_id])
                    session.execute(update(DataFileRow).where(replaced).values(state="retired", retired=now))
                row.created, row.model, row.queries, row.settings = now, model, files[1].rows, dict(settings)
                row.data_file_id, row.queries_file_id = file_ids

            self.database.change(save)
            return files[0].rows

    def list(self) -> Sequence[SavedRanking]:
        """Return the rankings, newest first."""
        rows, queries = aliased(DataFileRow), aliased(DataFileRow)
        query = (
            select(RankingRow, rows.rows, rows.checksum, rows.path, queries.path)
            .join(rows, rows.id == RankingRow.data_file_id)
            .outerjoin(queries, queries.id == RankingRow.queries_file_id)
            .order_by(RankingRow.created.desc(), RankingRow.name)
        )
        names = ("rows", "digest", "path", "queries_path")
        return [
            to_record(SavedRanking, row, **dict(zip(names, files, strict=True)))
            for row, *files in self.database.rows(query)
        ]

    def get(self, name: str) -> SavedRanking:
        """Return a ranking; the error for an unknown one lists those that the store has."""
        rankings = {ranking.name: ranking for ranking in self.list()}
        if name not in rankings:
            known = ", ".join(sorted(rankings)) or "none yet"
            raise StoreError(f"ranking {name} is not in the store; its rankings are: {known}")
        return rankings[name]

    def scan(self, ranking: SavedRanking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a ranking in order, with all columns by default; memory is one batch."""
        _require_columns(ranking, columns or ())
        return self.root.read(ranking.path, columns, SCAN_ROWS)

    def scan_queries(self, ranking: SavedRanking, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the queries of a ranking in order; nothing if it has no `queries_path`."""
        return iter(()) if ranking.queries_path is None else self.root.read(ranking.queries_path, columns)

    def rows(self, ranking: SavedRanking, numbers: Sequence[int], columns: Sequence[str]) -> Sequence[dict[str, Any]]:
        """Return rows of a ranking by their numbers, counted from 0, in ascending order."""
        _require_columns(ranking, columns)
        return self._rows(ranking.path, numbers, columns)

    def queries(
        self, ranking: SavedRanking, numbers: Sequence[int], columns: Sequence[str]
    ) -> Sequence[dict[str, Any]]:
        """Return queries of a ranking by their numbers, as `rows`; [] if it has no `queries_path`."""
        return [] if ranking.queries_path is None else self._rows(ranking.queries_path, numbers, columns)

    def _rows(self, path: str, numbers: Sequence[int], columns: Sequence[str]) -> Sequence[dict[str, Any]]:
        return [row for batch in rows_at(self.root, path, numbers, columns) for row in batch.to_pylist()]


def _require_columns(ranking: SavedRanking, columns: Sequence[str]) -> None:
    if ranking.queries_path is None and not set(TRUTH.names).isdisjoint(columns):
        raise StoreError(f"ranking {ranking.name} has no truth, it comes from an older Vestigo: rank again")
