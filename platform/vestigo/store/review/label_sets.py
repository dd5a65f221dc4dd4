"""Versions of the labels: rows in Parquet, the version in the catalogue."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from sqlalchemy import select

from vestigo.store.faults import fault_point
from vestigo.store.parquet.files import DataRoot
from vestigo.store.parquet.schemas import LABELS
from vestigo.store.review.records import LabelSet
from vestigo.store.review.repository import FOLDER
from vestigo.store.runs.rows import add_files
from vestigo.store.sql.database import Database, to_record
from vestigo.store.sql.tables import DataFileRow, LabelSetRow
from vestigo_models.errors import StoreError


@dataclass(frozen=True)
class LabelSetRepository:
    """The label sets of a store. A version is never changed or deleted."""

    database: Database
    root: DataRoot

    def save(self, rows: Iterable[pa.RecordBatch], *, digest: str, tasks: int, projects: tuple[str, ...]) -> LabelSet:
        """Save labels, with the columns of `LABELS`, as the next version; `digest` is that of the rows."""
        with self.root.pending(FOLDER):
            file = self.root.write("labels", FOLDER, 0, rows, LABELS)
            fault_point("labels.before")
            with self.database.write() as session:
                (file_id,) = add_files(session, [file])
                facts = {"digest": digest, "labels": file.rows, "tasks": tasks, "projects": projects}
                row = LabelSetRow(created=datetime.now(UTC), data_file_id=file_id, **facts)
                session.add(row)
                session.flush()
                return to_record(LabelSet, row)

    def list(self) -> Sequence[LabelSet]:
        """Return the versions, oldest first."""
        return self.database.records(LabelSet, select(LabelSetRow).order_by(LabelSetRow.version))

    def load(self, version: int) -> tuple[LabelSet, Iterator[pa.RecordBatch]]:
        """Return a version and its rows.

        Raises:
            StoreError: If the store has no such version; the message lists those that it has.
        """
        with self.database.read() as session:
            row = session.get(LabelSetRow, version)
            if row is None:
                versions = session.scalars(select(LabelSetRow.version).order_by(LabelSetRow.version))
                known = ", ".join(map(str, versions)) or "none yet"
                raise StoreError(f"label set {version} is not in the store; its versions are: {known}")
            path = session.get_one(DataFileRow, row.data_file_id).path
            return to_record(LabelSet, row), self.root.read(path)
