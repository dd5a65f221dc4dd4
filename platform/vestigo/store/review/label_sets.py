"""Versions of the agreed labels: rows in Parquet, the version in the catalogue."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from vestigo.store.review.records import LabelSet
from vestigo.store.runs.records import WrittenFile
from vestigo.store.runs.shards import file_row
from vestigo.store.sql.review_tables import LabelSetRow
from vestigo.store.sql.tables import DataFileRow
from vestigo_models.errors import StoreError


def save(session: Session, digest: str, tasks: int, projects: tuple[str, ...], file: WrittenFile) -> LabelSet:
    """Keep a file of labels as the next version."""
    kept = file_row(file, "visible")
    session.add(kept)
    session.flush()
    row = LabelSetRow(
        created=datetime.now(UTC),
        digest=digest,
        labels=file.rows,
        tasks=tasks,
        projects=list(projects),
        data_file_id=kept.id,
    )
    session.add(row)
    session.flush()
    return _label_set(row)


def versions(session: Session) -> list[LabelSet]:
    """Return the versions, oldest first."""
    return [_label_set(row) for row in session.scalars(select(LabelSetRow).order_by(LabelSetRow.version))]


def find(session: Session, version: int) -> tuple[LabelSet, str]:
    """Return a version and the path of its file. Raises StoreError, naming those there are."""
    row = session.get(LabelSetRow, version)
    if row is None:
        known = ", ".join(str(one.version) for one in versions(session)) or "none yet"
        raise StoreError(f"label set {version} is not in the store; its versions are: {known}")
    return _label_set(row), session.get_one(DataFileRow, row.data_file_id).path


def _label_set(row: LabelSetRow) -> LabelSet:
    return LabelSet(row.version, row.created, row.digest, row.labels, row.tasks, tuple(row.projects))
