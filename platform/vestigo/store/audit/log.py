"""The audit log: entries that are only ever added, each chained to the one before by its digest.

The digest of an entry is the SHA-256 of its canonical JSON (ASCII, sorted keys, no blanks) with the digest of the entry
before it. `audit_head` remembers how many there are and how they end.

Found are entries that were changed, removed, added or put in another order, also at the end. Not found is who may
write to the catalogue and computes all digests from there on again, sets the head back together with the end, or puts
back an older copy of the whole database: there is no secret in the chain. Against that, keep number and digest of the
last entry (`vestigo audit verify` says them) where the catalogue's administrators cannot write, and compare. Nor does
the log hold what somebody reads in files and database without this program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from vestigo.store.audit.records import AuditAction, AuditEntry
from vestigo.store.crops.visible import current_snapshot
from vestigo.store.faults import fault_point
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import AuditHeadRow, AuditRow
from vestigo_models.errors import StoreError, first_line

ORIGIN = "0" * 64
"""Stands where the first entry names the one before."""
DETAILS_BYTES = 64 * 1024
LINE_LENGTH = 200


@contextmanager
def audited_write(database: Database) -> Iterator[Session]:
    """Open a transaction that must be logged.

    Raises:
        StoreError: If the database refuses it: nothing may be shown that is not logged.
    """
    try:
        with database.write() as session:
            yield session
    except DBAPIError as error:
        raise StoreError(
            f"the audit log cannot be written ({first_line(error.orig or error)}), and what is not logged is not "
            "shown: let this account write to the catalogue"
        ) from error


def append_entry(
    session: Session,
    *,
    user: str,
    action: AuditAction,
    details: Mapping[str, Any],
    snapshot: str | None = None,
    case: str | None = None,
    authority: str | None = None,
) -> AuditEntry:
    """Add an entry at the end; other writers wait until this transaction ends.

    Args:
        session: The transaction.
        user: Who acts; unprintable characters are replaced.
        action: What they do.
        details: JSON of at most 64 KiB: ids, names and conditions, never images, embeddings, tokens or passwords.
        snapshot: Snapshot of the crops that were read, by default the current one.
        case: Case number.
        authority: Authorisation reference.

    Raises:
        StoreError: If the action is unknown, a text or `details` cannot be stored, or the end of the log was changed
            outside this program.
    """
    require_action(action)
    entry = {
        "user": printable(user),
        "action": action,
        "snapshot": current_snapshot(session) if snapshot is None else snapshot,
        "case_number": line(case, "case number"),
        "authority": line(authority, "authorisation reference"),
        "details": _plain(details),
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
    return to_entry(row)


def digest_of(row: AuditRow | Row[Any]) -> str:
    """Return the SHA-256 of what an entry says and of the digest before it."""
    said = {
        "id": row.id,
        "at": row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "user": row.user,
        "action": row.action,
        "snapshot": row.snapshot,
        "case": row.case_number,
        "authority": row.authority,
        "details": row.details,
        "previous": row.previous,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def printable(text: str) -> str:
    """Return a name as it can be kept and shown: at most 200 characters, unprintable ones replaced.

    Whoever is refused at the door may have typed anything, and is written down all the same.
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:LINE_LENGTH])


def line(text: str | None, what: str) -> str | None:
    """Return `text` without blanks around it, None for an empty one.

    Raises StoreError for more than 200 characters or unprintable ones.
    """
    text = (text or "").strip()
    if len(text) > LINE_LENGTH or not text.isprintable():
        raise StoreError(f"{what} {printable(text)[:40]!r}: one line of at most {LINE_LENGTH} characters is kept")
    return text or None


def require_action(action: str) -> None:
    if action not in get_args(AuditAction):
        raise StoreError(f"{action!r} is not an action of the audit log: {', '.join(get_args(AuditAction))}")


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(dict(details), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"details of an audit entry must be JSON: {error}") from error
    if len(text) > DETAILS_BYTES:
        raise StoreError(f"details of an audit entry take {len(text)} bytes, more than {DETAILS_BYTES}: sum them up")
    plain: dict[str, Any] = json.loads(text)
    return plain


def to_entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        user=row.user,
        action=row.action,  # type: ignore[arg-type]
        snapshot=row.snapshot,
        case=row.case_number,
        authority=row.authority,
        details=row.details,
        previous=row.previous,
        digest=row.digest,
    )
