"""What people decided about results, kept apart from scores: every decision stays, the newest counts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from vestigo.store.audit.records import Verdict, VerdictValue
from vestigo.store.sql.audit_tables import VerdictRow
from vestigo_models.errors import StoreError

NOTE_LENGTH = 2000


def record(
    session: Session,
    query: str,
    crop: str,
    verdict: VerdictValue | None,
    *,
    user: str,
    case: str | None,
    note: str | None,
) -> Verdict:
    """Write a decision down. Raises StoreError for an unknown verdict, a query that is no digest, a note too long."""
    if verdict is not None and verdict not in get_args(VerdictValue):
        raise StoreError(f"{verdict!r} is not a verdict: {', '.join(get_args(VerdictValue))}, or none to withdraw it")
    if not re.fullmatch("[0-9a-f]{64}", query):
        raise StoreError(f"query {query[:40]!r} is not a SHA-256 (see `query_key`)")
    note = (note or "").strip() or None
    if note is not None and (len(note) > NOTE_LENGTH or "\0" in note):
        raise StoreError(f"a note is text of at most {NOTE_LENGTH} characters, this one has {len(note)}")
    row = VerdictRow(
        at=datetime.now(UTC), user=user, case_number=case, query=query, crop=crop, verdict=verdict, note=note
    )
    session.add(row)
    session.flush()
    return _to_verdict(row)


def current(session: Session, query: str, case: str | None) -> dict[str, Verdict]:
    """Return crop id to the newest decision about it in a case (None: outside any); withdrawn ones are left out."""
    newest = (
        select(func.max(VerdictRow.id))
        .where(VerdictRow.query == query, VerdictRow.case_number.is_not_distinct_from(case))
        .group_by(VerdictRow.crop)
    )
    rows = select(VerdictRow).where(VerdictRow.id.in_(newest), VerdictRow.verdict.is_not(None)).order_by(VerdictRow.id)
    return {row.crop: _to_verdict(row) for row in session.scalars(rows)}


def history(session: Session, query: str) -> list[Verdict]:
    """Return every decision about a query, in all cases, oldest first."""
    rows = select(VerdictRow).where(VerdictRow.query == query).order_by(VerdictRow.id)
    return [_to_verdict(row) for row in session.scalars(rows)]


def _to_verdict(row: VerdictRow) -> Verdict:
    return Verdict(
        id=row.id,
        at=row.at,
        user=row.user,
        case=row.case_number,
        query=row.query,
        crop=row.crop,
        verdict=row.verdict,  # type: ignore[arg-type]
        note=row.note,
    )
