"""Who drives a run: one live process at a time, and how the drive ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from vestigo.store.runs.queries import run_row, to_run
from vestigo.store.runs.records import Owner, Run, RunStatus
from vestigo.store.sql.tables import RunRow, ShardRow
from vestigo_models.errors import StoreError

SILENT_SECONDS = 60
"""A driver on another host whose heartbeat is older has died."""
RECYCLED_SECONDS = 3600
"""A driver on this host whose heartbeat is older has died, even where a process has its number."""


def is_held(row: RunRow, owner: Owner) -> bool:
    """Whether a live driver other than `owner` holds the run."""
    if row.host is None or row.pid is None or row.heartbeat is None or Owner(row.host, row.pid) == owner:
        return False
    silent = (datetime.now(UTC) - row.heartbeat).total_seconds()
    if row.host == owner.host:
        return silent < RECYCLED_SECONDS and _is_alive(row.pid)
    return silent < SILENT_SECONDS


def is_held_by_any(row: RunRow) -> bool:
    """Whether a live driver holds the run, this process included."""
    # Nobody drives as process 0.
    return is_held(row, Owner(Owner.current().host, 0))


def require_free(row: RunRow, owner: Owner) -> None:
    """Raise StoreError, naming the process, where a live driver other than `owner` holds the run."""
    if is_held(row, owner):
        raise StoreError(
            f"run {row.id} is being driven by process {row.pid} on {row.host}: "
            "wait for it, or stop it with `vestigo runs cancel`"
        )


def take(session: Session, run_id: str, owner: Owner) -> Run:
    """Make `owner` the driver of a run that has not succeeded.

    Raises StoreError, naming the process, where a live driver holds it.
    """
    row = run_row(session, run_id, lock=True)
    if row.status == "succeeded":
        raise StoreError(f"run {run_id} has succeeded: there is nothing left to do")
    require_free(row, owner)
    reopen(row)
    row.host, row.pid, row.heartbeat = owner.host, owner.pid, datetime.now(UTC)
    return to_run(row)


def reopen(row: RunRow) -> None:
    """Make a run one that has not ended."""
    row.status, row.finished, row.cancel_requested, row.error = "running", None, False, None


def heartbeat(session: Session, run_id: str, owner: Owner) -> None:
    """Say that `owner` still drives the run. Raises StoreError where another driver took it over."""
    _beat(_own(session, run_id, owner))


def release(session: Session, run_id: str, owner: Owner) -> None:
    """Stop driving the run without saying how it ended; nothing happens where `owner` does not drive it."""
    row = run_row(session, run_id, lock=True)
    if (row.host, row.pid) == (owner.host, owner.pid):
        _let_go(row)


def finish(
    session: Session,
    run_id: str,
    status: RunStatus,
    owner: Owner,
    promote: Callable[[RunRow], None],
    error: str | None = None,
) -> Run:
    """End a run; one that succeeded and replaces others is made visible by `promote` in the same transaction.

    Raises StoreError for `succeeded` while shards are pending, and where another driver took the run over.
    """
    row = _own(session, run_id, owner)
    pending = select(ShardRow.id).where(ShardRow.run_id == run_id, ShardRow.state == "pending").limit(1)
    if status == "succeeded" and (not row.planned or session.scalar(pending) is not None):
        raise StoreError(f"run {run_id} has shards that are not done: resume it with `vestigo runs resume {run_id}`")
    _let_go(row)
    row.status, row.finished, row.cancel_requested, row.error = status, datetime.now(UTC), False, error
    if status == "succeeded" and row.replaces:
        promote(row)
    return to_run(row)


def request_cancel(session: Session, run_id: str) -> Run:
    """Ask the driver to stop; without a live driver an unfinished run is cancelled at once."""
    row = run_row(session, run_id, lock=True)
    if row.status == "running":
        if is_held_by_any(row):
            row.cancel_requested = True
        else:
            row.status, row.finished = "cancelled", datetime.now(UTC)
    return to_run(row)


def _own(session: Session, run_id: str, owner: Owner) -> RunRow:
    row = run_row(session, run_id, lock=True)
    if (row.host, row.pid) != (owner.host, owner.pid):
        holder = "nobody" if row.host is None else f"process {row.pid} on {row.host}"
        raise StoreError(f"run {run_id} is driven by {holder}, no longer by process {owner.pid} on {owner.host}")
    return row


def _beat(row: RunRow) -> None:
    now = datetime.now(UTC)
    if row.heartbeat is not None:
        row.seconds += max(0.0, (now - row.heartbeat).total_seconds())
    row.heartbeat = now


def _let_go(row: RunRow) -> None:
    _beat(row)
    row.host = row.pid = row.heartbeat = None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
