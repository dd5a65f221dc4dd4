"""The store as accountability sees it: who did what and saw what, and what people decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from vestigo.store.audit import log as audit_log
from vestigo.store.audit import verdicts
from vestigo.store.audit.records import AuditAction, AuditEntry, AuditReport, Verdict, VerdictValue
from vestigo.store.crops import visible
from vestigo.store.opened import OpenedStore
from vestigo_models.errors import StoreError, first_line


class AuditStore(OpenedStore):
    """The audit log and verdicts: nothing of them is ever changed or deleted (`audit_log` says what that is worth)."""

    def record_audit(
        self,
        user: str,
        action: AuditAction,
        *,
        details: Mapping[str, Any],
        snapshot: str | None = None,
        case: str | None = None,
        authority: str | None = None,
    ) -> AuditEntry:
        """Add an entry to the audit log, one writer at a time, and return it.

        `details` is JSON of at most 64 KiB: ids, names and conditions, never images, embeddings, tokens or passwords.
        `snapshot` says what of the store was asked, by default what it shows now.

        Raises StoreError where it cannot be written: what is not logged must not be shown.
        """
        with self._audited() as session:
            return audit_log.append(
                session,
                user=user,
                action=action,
                snapshot=visible.snapshot(session) if snapshot is None else snapshot,
                case=case,
                authority=authority,
                details=details,
            )

    def audit_entries(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        newest: bool = False,
        user: str | None = None,
        action: AuditAction | None = None,
        case: str | None = None,
    ) -> list[AuditEntry]:
        """Return entries, oldest or `newest` first; `after` is the last id of the page before."""
        with self._db.read() as session:
            return audit_log.entries(
                session, after=after, limit=limit, newest=newest, user=user, action=action, case=case
            )

    def verify_audit(self, progress: Callable[[int, int], None] | None = None) -> AuditReport:
        """Compute the chain of all entries anew; `progress` hears of entries done and in all."""
        with self._db.read() as session:
            return audit_log.verify(session, progress or (lambda done, total: None))

    def record_verdict(
        self,
        query: str,
        crop: str,
        verdict: VerdictValue | None,
        *,
        user: str,
        case: str | None = None,
        note: str | None = None,
        authority: str | None = None,
        snapshot: str | None = None,
    ) -> Verdict:
        """Write down what somebody decided about a crop (None: they take it back), and that they did in the audit log.

        `query` is the `query_key` of what was searched for. Raises StoreError like `record_audit`, and for what is no
        verdict, key or note.
        """
        with self._audited() as session:
            case = audit_log.line(case, "case number")
            made = verdicts.record(session, query, crop, verdict, user=audit_log.printable(user), case=case, note=note)
            audit_log.append(
                session,
                user=user,
                action="verdict",
                snapshot=visible.snapshot(session) if snapshot is None else snapshot,
                case=case,
                authority=authority,
                details={"query": query, "crop": crop, "verdict": verdict},
            )
            return made

    def verdicts(self, query: str, case: str | None = None) -> dict[str, Verdict]:
        """Return crop id to what was last decided in a case, None for decisions outside any; see `record_verdict`."""
        with self._db.read() as session:
            return verdicts.current(session, query, audit_log.line(case, "case number"))

    def verdict_history(self, query: str) -> list[Verdict]:
        """Return every decision about a query, in all cases and with those taken back, oldest first."""
        with self._db.read() as session:
            return verdicts.history(session, query)

    @contextmanager
    def _audited(self) -> Iterator[Session]:
        try:
            with self._db.write() as session:
                yield session
        except DBAPIError as error:
            reason = first_line(error.orig or error)
            raise StoreError(
                f"the audit log of store {self.ref} cannot be written ({reason}), and what is not logged is not shown: "
                "let this account write to the catalogue"
            ) from error
