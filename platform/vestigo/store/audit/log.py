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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack, get_args

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from vestigo.store.audit.records import AuditAction, AuditEntry
from vestigo.store.crops.visible import current_snapshot
from vestigo.store.faults import fault_point
from vestigo.store.sql.database import Database, to_record
from vestigo.store.sql.outages import find_outage
from vestigo.store.sql.tables import AuditHeadRow, AuditRow
from vestigo_models.errors import StoreError, StoreUnavailable, first_line

ORIGIN = "0" * 64
"""Previous digest of the first entry."""
DETAILS_BYTES = 64 * 1024
LINE_LENGTH = 200
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


@contextmanager
def audited_write(database: Database) -> Iterator[Session]:
    """Open a transaction that must be logged."""
    try:
        with database.write() as session:
            yield session
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
