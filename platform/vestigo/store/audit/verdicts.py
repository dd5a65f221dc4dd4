"""Verdicts on search results: every verdict is kept, the newest one of a crop counts."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Unpack, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from vestigo.store.audit.log import AuditContext, append_entry, audited_change, line, printable
from vestigo.store.audit.records import Verdict, VerdictValue
from vestigo.store.sql.database import Database, to_record
from vestigo.store.sql.tables import VerdictRow
from vestigo_models.errors import StoreError

NOTE_LENGTH = 2000


@dataclass(frozen=True)
class VerdictRepository:
    """The verdicts of a store. They are never changed or deleted."""

    database: Database

    def record(
        self,
        query: str,
        crop: str,
        verdict: VerdictValue | None,
        *,
        user: str,
        note: str | None = None,
        **context: Unpack[AuditContext],
    ) -> Verdict:
        """Add a verdict on a crop as a result of a query, and its audit entry in the same transaction.

        `query` is the `query_key`; a `verdict` of None withdraws the one before; `note` has at most 2000 characters.
        The case of the audit entry is also that of the verdict. A verdict that repeats the newest one on the crop, of
        the same user and with the same note, adds nothing: it may have been sent again because its answer was lost.

        Raises:
            StoreError: If the audit entry cannot be written, or the verdict, the query key or the note is invalid.
        """
        if verdict is not None and verdict not in get_args(VerdictValue):
            values = ", ".join(get_args(VerdictValue))
            raise StoreError(f"{verdict!r} is not a verdict: {values}, or none to withdraw it")
        if not re.fullmatch("[0-9a-f]{64}", query):
            raise StoreError(f"query {query[:40]!r} is not a SHA-256 (see `query_key`)")
        note = (note or "").strip() or None
        if note is not None and (len(note) > NOTE_LENGTH or "\0" in note):
            raise StoreError(f"a note is text of at most {NOTE_LENGTH} characters, this one has {len(note)}")
        judged = {"query": query, "crop": crop, "verdict": verdict}
        case = line(context.get("case"), "case number")

        def add(session: Session) -> Verdict:
            same = VerdictRow.query == query, VerdictRow.crop == crop, VerdictRow.case.is_not_distinct_from(case)
            newest = session.scalar(select(VerdictRow).where(*same).order_by(VerdictRow.id.desc()).limit(1))
            if newest and (newest.user, newest.verdict, newest.note) == (printable(user), verdict, note):
                return to_record(Verdict, newest)
            row = VerdictRow(at=datetime.now(UTC), user=printable(user), case=case, note=note, **judged)
            session.add(row)
            session.flush()
            append_entry(session, user=user, action="verdict", details=judged, **context)
            return to_record(Verdict, row)

        return audited_change(self.database, add)

    def current(self, query: str, case: str | None = None) -> dict[str, Verdict]:
        """Return the newest verdict on each crop of a query in a case, or outside any case, without withdrawn ones."""
        case = line(case, "case number")
        newest = (
            select(func.max(VerdictRow.id))
            .where(VerdictRow.query == query, VerdictRow.case.is_not_distinct_from(case))
            .group_by(VerdictRow.crop)
        )
        rows = select(VerdictRow).where(VerdictRow.id.in_(newest), VerdictRow.verdict.is_not(None))
        return {row.crop: to_record(Verdict, row) for row in self.database.scalars(rows.order_by(VerdictRow.id))}

    def history(self, query: str) -> list[Verdict]:
        """Return every verdict of a query, in all cases and with those withdrawn, oldest first."""
        rows = select(VerdictRow).where(VerdictRow.query == query).order_by(VerdictRow.id)
        return self.database.records(Verdict, rows)
