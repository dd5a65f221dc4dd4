"""The lease on a run: at most one live process drives it."""

import os
from datetime import UTC, datetime

from vestigo.store.runs.records import Owner
from vestigo.store.sql.tables import RunRow
from vestigo_models.errors import LeaseLost, StoreError

SILENT_SECONDS = 60
"""A driver on another host whose heartbeat is older is considered dead."""
RECYCLED_SECONDS = 3600
"""A driver on this host whose heartbeat is older is considered dead, even if a process has its id."""


def is_held(row: RunRow, owner: Owner | None = None) -> bool:
    """Return whether a live driver holds the run; `owner` is not counted."""
    if row.host is None or row.pid is None or row.heartbeat is None or Owner(row.host, row.pid) == owner:
        return False
    silence = (datetime.now(UTC) - row.heartbeat).total_seconds()
    if row.host == (owner or Owner.current()).host:
        return silence < RECYCLED_SECONDS and is_alive(row.pid)
    return silence < SILENT_SECONDS


def require_free(row: RunRow, owner: Owner) -> None:
    """Raise `StoreError` if a live driver other than `owner` holds the run."""
    if is_held(row, owner):
        raise StoreError(
            f"run {row.id} is being driven by process {row.pid} on {row.host}: "
            "wait for it, or stop it with `vestigo runs cancel`"
        )


def require_owner(row: RunRow, owner: Owner) -> None:
    """Raise `LeaseLost` if `owner` does not hold the lease on a run."""
    if (row.host, row.pid) != (owner.host, owner.pid):
        holder = "no process" if row.host is None else f"process {row.pid} on {row.host}"
        raise LeaseLost(f"run {row.id} is driven by {holder}, no longer by process {owner.pid} on {owner.host}")


def record_heartbeat(row: RunRow) -> None:
    """Add the time since the last heartbeat to the driven seconds and set a new heartbeat."""
    now = datetime.now(UTC)
    if row.heartbeat is not None:
        row.seconds += max(0.0, (now - row.heartbeat).total_seconds())
    row.heartbeat = now


def release(row: RunRow) -> None:
    """End the lease on a run."""
    record_heartbeat(row)
    row.host = row.pid = row.heartbeat = None


def reopen(row: RunRow) -> None:
    """Set a run back to running."""
    row.status, row.finished, row.cancel_requested, row.error = "running", None, False, None


def is_alive(pid: int) -> bool:
    """Return whether a process of this host has the id `pid`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
