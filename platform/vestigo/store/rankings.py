"""Rankings kept under a name: rows in Parquet, the name in the catalogue."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from vestigo.store.records import WrittenFile
from vestigo.store.tables import DataFileRow, ModelRow, RankingRow
from vestigo.store.work import file_row
from vestigo_models.errors import StoreError

RANKINGS = "rankings"
"""Stands where a run's files have the id of their run."""


def save(session: Session, name: str, model: str, queries: int, file: WrittenFile) -> None:
    """Keep a ranking under `name`; an older one of that name is retired. Raises StoreError for an unknown model."""
    if session.get(ModelRow, model) is None:
        raise StoreError(f"model {model} is not registered in the store: register it before the ranking")
    now = datetime.now(UTC)
    kept = file_row(file, "visible")
    session.add(kept)
    session.flush()
    row = session.get(RankingRow, name, with_for_update=True)
    if row is None:
        row = RankingRow(name=name)
        session.add(row)
    else:
        old = session.get_one(DataFileRow, row.data_file_id)
        old.state, old.retired = "retired", now
    row.created, row.model_digest, row.queries, row.data_file_id = now, model, queries, kept.id


def find(session: Session, name: str) -> tuple[RankingRow, DataFileRow]:
    """Return a ranking and its file. Raises StoreError, naming those there are."""
    row = session.get(RankingRow, name)
    if row is None:
        known = ", ".join(names(session)) or "none yet"
        raise StoreError(f"ranking {name} is not in the store; its rankings are: {known}")
    return row, session.get_one(DataFileRow, row.data_file_id)


def names(session: Session) -> list[str]:
    """Return the names of the rankings, in order."""
    return list(session.scalars(select(RankingRow.name).order_by(RankingRow.name)))
