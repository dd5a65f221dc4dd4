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
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import Row, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from vestigo.store.audit.records import AuditAction, AuditEntry, AuditReport
from vestigo.store.faults import fault_point
from vestigo.store.sql.audit_tables import AuditHeadRow, AuditRow
from vestigo_models.errors import StoreError

ORIGIN = "0" * 64
"""Stands where the first entry names the one before."""
DETAILS_BYTES = 64 * 1024
LINE_LENGTH = 200
PAGE_ROWS = 1000
NAMED = 20
"""Problems that are told one by one; more of them show no more."""


def append(
    session: Session,
    *,
    user: str,
    action: AuditAction,
    snapshot: str,
    case: str | None,
    authority: str | None,
    details: Mapping[str, Any],
) -> AuditEntry:
    """Add an entry at the end; others that add wait until this transaction ends.

    Raises StoreError for an unknown action, for text and details that cannot be kept, and where somebody tampered
    with the end of the log.
    """
    _require(action)
    entry = {
        "user": printable(user),
        "action": action,
        "snapshot": snapshot,
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
        raise StoreError(f"somebody wrote audit entry {number} by hand: see `vestigo audit verify`") from error
    fault_point("audit.inside")
    head.entries, head.digest = number, row.digest
    return _to_entry(row)


def entries(
    session: Session,
    *,
    after: int,
    limit: int,
    newest: bool,
    user: str | None,
    action: AuditAction | None,
    case: str | None,
) -> list[AuditEntry]:
    """Return at most `limit` entries that follow entry `after` in the order asked for, 0 for the first.

    Raises StoreError for an unknown action, and where an entry cannot be read.
    """
    if action is not None:
        _require(action)
    query = select(AuditRow).order_by(AuditRow.id.desc() if newest else AuditRow.id).limit(limit)
    if after:
        query = query.where(AuditRow.id < after if newest else AuditRow.id > after)
    for column, wanted in ((AuditRow.user, user), (AuditRow.action, action), (AuditRow.case_number, case)):
        if wanted is not None:
            query = query.where(column == wanted)
    try:
        return [_to_entry(row) for row in session.scalars(query)]
    except ValueError as error:
        raise StoreError("an entry of the audit log cannot be read: `vestigo audit verify` says which") from error


def verify(session: Session, progress: Callable[[int, int], None]) -> AuditReport:
    """Compute the chain anew, from the first entry to the remembered end; memory is a page of entries."""
    head = session.get(AuditHeadRow, 1)
    total = session.scalar(select(func.count()).select_from(AuditRow)) or 0
    problems: list[str] = []
    done, found, seen, last = 0, 0, 0, ORIGIN
    for id_, previous, digest, computed in _links(session):
        for problem in _problems(id_, previous, digest == computed, seen, last):
            found += 1
            problems += [problem] if found <= NAMED else []
        done, seen, last = done + 1, max(seen, id_), digest
        if done % PAGE_ROWS == 0 or done == total:
            progress(done, total)
    if head is None:
        problems.append("the remembered end of the log was removed")
    elif head.entries > seen:
        problems.append(f"{_named(seen + 1, head.entries)} cut off the end")
    elif head.entries < seen:
        problems.append(f"{_named(head.entries + 1, seen)} added past the remembered end")
    elif head.digest != last:
        problems.append("the last entry is not the one that was written last")
    if found > NAMED:
        problems.append(f"and {found - NAMED} more")
    return AuditReport(total, last, not problems, tuple(problems))


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


def _require(action: str) -> None:
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
    query = select(*AuditRow.__table__.columns).where(AuditRow.id.between(ids[0], ids[-1]))
    try:
        return {row.id: digest_of(row) for row in session.execute(query)}
    except (TypeError, ValueError):
        # Somebody wrote what is no time or no JSON: who reads them one by one loses that one alone.
        return (
            {} if len(ids) == 1 else {id_: digest for one in ids for id_, digest in _computed(session, [one]).items()}
        )


def _problems(id_: int, previous: str, unchanged: bool, seen: int, last: str) -> Iterator[str]:
    if id_ > seen + 1:
        yield f"{_named(seen + 1, id_ - 1)} removed"
    elif previous != last:
        yield f"entry {id_} does not follow the one before it"
    if not unchanged:
        yield f"entry {id_} was changed"


def _named(first: int, last: int) -> str:
    return f"entry {first} was" if first == last else f"entries {first} to {last} were"


def _to_entry(row: AuditRow) -> AuditEntry:
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
