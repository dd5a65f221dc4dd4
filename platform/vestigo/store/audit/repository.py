"""The audit log of a store: add, list and verify entries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from vestigo.store.audit.log import (
    DIGESTED,
    ORIGIN,
    AuditContext,
    append_entry,
    audited_write,
    digest_of,
    require_action,
)
from vestigo.store.audit.records import AuditAction, AuditEntry, AuditReport
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import AuditHeadRow, AuditRow
from vestigo_models.errors import StoreError
from vestigo_models.progress import ProgressCallback, ignore_progress

PAGE_ROWS = 1000
NAMED = 20
"""Problems that a report lists one by one."""


@dataclass(frozen=True)
class AuditRepository:
    """The audit log of a store. Entries are never changed or deleted."""

    database: Database

    def record(
        self, user: str, action: AuditAction, *, details: Mapping[str, Any], **context: Unpack[AuditContext]
    ) -> AuditEntry:
        """Add an entry in a transaction of its own; see `vestigo.store.audit.log.append_entry`."""
        with audited_write(self.database) as session:
            return append_entry(session, user=user, action=action, details=details, **context)

    def entries(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        newest: bool = False,
        user: str | None = None,
        action: AuditAction | None = None,
        case: str | None = None,
    ) -> list[AuditEntry]:
        """Return at most `limit` entries, of a user, action or case number if given, oldest or `newest` first.

        `after` is the id of the last entry of the page before, 0 for the first page.

        Raises:
            StoreError: If the action is unknown or an entry cannot be read.
        """
        require_action(action)
        query = select(AuditRow).order_by(AuditRow.id.desc() if newest else AuditRow.id).limit(limit)
        if after:
            query = query.where(AuditRow.id < after if newest else AuditRow.id > after)
        for column, value in ((AuditRow.user, user), (AuditRow.action, action), (AuditRow.case, case)):
            if value is not None:
                query = query.where(column == value)
        try:
            return self.database.records(AuditEntry, query)
        except ValueError as error:
            raise StoreError("an entry of the audit log cannot be read: `vestigo audit verify` names it") from error

    def verify(self, progress: ProgressCallback = ignore_progress) -> AuditReport:
        """Compute the chain again, from the first entry to the recorded end; memory is a page of entries."""
        with self.database.read() as session:
            head = session.get(AuditHeadRow, 1)
            total = session.scalar(select(func.count()).select_from(AuditRow)) or 0
            problems: list[str] = []
            done, count, last_id, last_digest = 0, 0, 0, ORIGIN
            for id_, previous, digest, computed in _links(session):
                for problem in _problems(id_, previous, digest == computed, last_id, last_digest):
                    count += 1
                    problems += [problem] if count <= NAMED else []
                done, last_id, last_digest = done + 1, max(last_id, id_), digest
                if done % PAGE_ROWS == 0 or done == total:
                    progress(done, total)
        if head is None:
            problems.append("the recorded end of the log was removed")
        elif head.entries > last_id:
            problems.append(f"{_named(last_id + 1, head.entries)} cut off the end")
        elif head.entries < last_id:
            problems.append(f"{_named(head.entries + 1, last_id)} added past the recorded end")
        elif head.digest != last_digest:
            problems.append("the last entry is not the one that was written last")
        if count > NAMED:
            problems.append(f"and {count - NAMED} more")
        return AuditReport(total, last_digest, not problems, tuple(problems))


def _links(session: Session) -> Iterator[tuple[int, str, str, str | None]]:
    """Yield id, previous digest, digest, and digest as computed anew (None where an entry cannot be read)."""
    columns = AuditRow.id, AuditRow.previous, AuditRow.digest
    after: int | None = None
    while True:
        query = select(*columns).order_by(AuditRow.id).limit(PAGE_ROWS)
        page = session.execute(query if after is None else query.where(AuditRow.id > after)).all()
        if not page:
            return
        computed = _computed(session, [id_ for id_, _, _ in page])
        yield from ((id_, previous, digest, computed.get(id_)) for id_, previous, digest in page)
        after = page[-1][0]


def _computed(session: Session, ids: Sequence[int]) -> dict[int, str]:
    columns = [getattr(AuditRow, name) for name in DIGESTED]
    query = select(*columns).where(AuditRow.id.between(ids[0], ids[-1]))
    try:
        return {row.id: digest_of(row) for row in session.execute(query)}
    except (TypeError, ValueError):
        # An entry holds no valid time or JSON: read one by one, only that entry fails.
        if len(ids) == 1:
            return {}
        return {number: digest for id_ in ids for number, digest in _computed(session, [id_]).items()}


def _problems(id_: int, previous: str, unchanged: bool, last_id: int, last_digest: str) -> Iterator[str]:
    if id_ > last_id + 1:
        yield f"{_named(last_id + 1, id_ - 1)} removed"
    elif previous != last_digest:
        yield f"entry {id_} does not follow the one before it"
    if not unchanged:
        yield f"entry {id_} was changed"


def _named(first: int, last: int) -> str:
    return f"entry {first} was" if first == last else f"entries {first} to {last} were"
