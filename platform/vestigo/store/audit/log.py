"""The audit log: entries that are only added, each chained to the one before by its digest.

The digest of an entry is the SHA-256 of its canonical JSON (ASCII, sorted keys, no blanks) with the digest of the entry
before it. `audit_head` holds the number of entries and the digest of the last one.

Verification finds entries that were changed, removed, added or reordered, also at the end. It does not find a writer
with access to the catalogue who computes all later digests again, resets the head together with the end, or restores
an older copy of the database: the chain has no secret. To detect that, store the number and digest of the last entry,
which `vestigo audit verify` shows, where the administrators of the catalogue cannot write. The log does not record
access to files and database outside this program.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict, TypeVar, Unpack, get_args

from sqlalchemy import Row, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from vestigo.store.audit.records import AuditAction, AuditEntry, AuditReport
from vestigo.store.crops.visible import current_snapshot
from vestigo.store.faults import fault_point
from vestigo.store.sql.database import Database, to_record
from vestigo.store.sql.outages import find_outage
from vestigo.store.sql.tables import AuditHeadRow, AuditRow
from vestigo_models.errors import StoreError, StoreUnavailable, first_line
from vestigo_models.progress import ProgressCallback, ignore_progress

R = TypeVar("R")
ORIGIN = "0" * 64
"""Previous digest of the first entry."""
DETAILS_BYTES = 64 * 1024
LINE_LENGTH = 200
PAGE_ROWS = 1000
NAMED = 20
"""Problems that a report lists one by one."""
DIGESTED = ("id", "at", "user", "action", "snapshot", "case", "authority", "details", "previous")
"""What the digest of an entry covers."""


class AuditContext(TypedDict, total=False):
    """Optional keyword arguments of every method that adds an audit entry.

    Attributes:
        snapshot: Snapshot of the crops that were read, by default the current one.
        case: Case number.
        authority: Authorisation reference.
    """

    snapshot: str | None
    case: str | None
    authority: str | None


@dataclass(frozen=True)
class AuditRepository:
    """The audit log of a store. Entries are never changed or deleted."""

    database: Database

    def record(
        self, user: str, action: AuditAction, *, details: Mapping[str, Any], **context: Unpack[AuditContext]
    ) -> AuditEntry:
        """Add an entry in a transaction of its own; see `append_entry`."""
        return audited_change(
            self.database, lambda session: append_entry(session, user=user, action=action, details=details, **context)
        )

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
        filters = {"user": user, "action": action, "case": case}
        query = query.filter_by(**{name: value for name, value in filters.items() if value is not None})
        try:
            return self.database.records(AuditEntry, query)
        except ValueError as error:
            raise StoreError("an entry of the audit log cannot be read: `vestigo audit verify` names it") from error

    def verify(self, progress: ProgressCallback = ignore_progress) -> AuditReport:
        """Compute the chain again, from the first entry to the recorded end; memory is a page of entries."""

        def read(session: Session) -> tuple[AuditHeadRow | None, list[str], int, int, int, str]:
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
            return head, problems, count, total, last_id, last_digest

        head, problems, count, total, last_id, last_digest = self.database.fetch(read)
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


def audited_change(database: Database, change: Callable[[Session], R]) -> R:
    """Return what `change` returns in a transaction that must be logged."""
    try:
        return database.change(change)
    except (StoreUnavailable, DBAPIError) as error:
        outage = find_outage(error)
        reason = outage.reason if outage else first_line(getattr(error, "orig", error))
        remedy = outage.remedy if outage else "let this account write to the catalogue"
        raise StoreError(
            f"the audit log cannot be written ({reason}), and what is not logged is not shown: {remedy}"
        ) from error


def append_entry(
    session: Session, *, user: str, action: AuditAction, details: Mapping[str, Any], **context: Unpack[AuditContext]
) -> AuditEntry:
    """Add an entry at the end; other writers wait until this transaction ends.

    Unprintable characters of `user` are replaced. `details` are JSON of at most 64 KiB: ids, names and conditions,
    never images, embeddings, tokens or passwords.

    Raises:
        StoreError: If the action is unknown, a text or `details` cannot be stored, or the end of the log was changed
            outside this program.
    """
    require_action(action)
    snapshot = context.get("snapshot")
    entry = {
        "user": printable(user),
        "action": action,
        "snapshot": current_snapshot(session) if snapshot is None else snapshot,
        "case": line(context.get("case"), "case number"),
        "authority": line(context.get("authority"), "authorisation reference"),
        "details": _json(details),
    }
    head = session.get(AuditHeadRow, 1, with_for_update=True)
    if head is None:
        raise StoreError("the end of the audit log was removed: see `vestigo audit verify`")
    number, now = head.entries + 1, datetime.now(UTC)
    row = AuditRow(id=number, at=now, previous=head.digest, digest="", **entry)
    row.digest = digest_of(row)
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise StoreError(
            f"audit entry {number} was written outside this program: see `vestigo audit verify`"
        ) from error
    fault_point("audit.inside")
    head.entries, head.digest = number, row.digest
    return to_record(AuditEntry, row)


def digest_of(row: AuditRow | Row[Any]) -> str:
    """Return the SHA-256 of the content of an entry and of the digest before it."""
    content = {name: getattr(row, name) for name in DIGESTED}
    content["at"] = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def printable(text: str) -> str:
    """Return the first 200 characters of a name, with unprintable ones replaced; refused sign-ins may have any."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:LINE_LENGTH])


def line(text: str | None, name: str) -> str | None:
    """Return `text` without surrounding blanks, None if it is empty.

    Raises:
        StoreError: If it has more than 200 characters or unprintable ones; the message calls it `name`.
    """
    text = (text or "").strip()
    if len(text) > LINE_LENGTH or not text.isprintable():
        raise StoreError(f"{name} {printable(text)[:40]!r}: one line of at most {LINE_LENGTH} characters is kept")
    return text or None


def require_action(action: str | None) -> None:
    """Raise `StoreError` if the log has no such action; None is any action."""
    if action is not None and action not in get_args(AuditAction):
        raise StoreError(f"{action!r} is not an action of the audit log: {', '.join(get_args(AuditAction))}")


def _json(details: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(dict(details), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"details of an audit entry must be JSON: {error}") from error
    if len(text) > DETAILS_BYTES:
        raise StoreError(f"details of an audit entry take {len(text)} bytes, more than {DETAILS_BYTES}: shorten them")
    plain: dict[str, Any] = json.loads(text)
    return plain


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
