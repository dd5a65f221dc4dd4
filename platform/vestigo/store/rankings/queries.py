"""Rankings kept under a name: rows and queries in Parquet, the name in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from vestigo.store.rankings.records import Ranking
from vestigo.store.runs.records import WrittenFile
from vestigo.store.runs.shards import file_row
from vestigo.store.sql.tables import DataFileRow, ModelRow, RankingRow
from vestigo_models.errors import StoreError

RANKINGS = "rankings"
"""Stands where a run's files have the id of their run."""


def save(
    session: Session, name: str, model: str, settings: Mapping[str, Any], rows: WrittenFile, queries: WrittenFile
) -> None:
    """Keep a ranking under `name`; an older one of that name is retired. Raises StoreError for an unknown model."""
    if session.get(ModelRow, model) is None:
        raise StoreError(f"model {model} is not registered in the store: register it before the ranking")
    now = datetime.now(UTC)
    kept = [file_row(file, "visible") for file in (rows, queries)]
    session.add_all(kept)
    session.flush()
    row = session.get(RankingRow, name, with_for_update=True)
    if row is None:
        row = RankingRow(name=name)
        session.add(row)
    else:
        for file_id in filter(None, (row.data_file_id, row.queries_file_id)):
            old = session.get_one(DataFileRow, file_id)
            old.state, old.retired = "retired", now
    row.created, row.model_digest, row.queries, row.settings = now, model, queries.rows, dict(settings)
    row.data_file_id, row.queries_file_id = (file.id for file in kept)


def find(session: Session, name: str) -> Ranking:
    """Return a ranking. Raises StoreError, naming those there are."""
    found = rankings(session)
    for ranking in found:
        if ranking.name == name:
            return ranking
    known = ", ".join(sorted(ranking.name for ranking in found)) or "none yet"
    raise StoreError(f"ranking {name} is not in the store; its rankings are: {known}")


def rankings(session: Session) -> list[Ranking]:
    """Return the rankings, newest first."""
    rows, queries = aliased(DataFileRow), aliased(DataFileRow)
    query = (
        select(RankingRow, rows.rows, rows.checksum, rows.path, queries.path)
        .join(rows, rows.id == RankingRow.data_file_id)
        .outerjoin(queries, queries.id == RankingRow.queries_file_id)
        .order_by(RankingRow.created.desc(), RankingRow.name)
    )
    return [
        Ranking(
            name=row.name,
            created=row.created,
            model=row.model_digest,
            queries=row.queries,
            rows=count,
            settings=row.settings,
            digest=checksum,
            path=path,
            queries_path=queries_path,
        )
        for row, count, checksum, path, queries_path in session.execute(query)
    ]
