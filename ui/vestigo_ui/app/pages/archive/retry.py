"""Retry of a run's quarantined inputs with the command line, in a process that outlives the page and the server."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from vestigo.sightings.database import index_path
from vestigo.store.open import Store
from vestigo_models.errors import UsageError
from vestigo_ui.app.context import PageContext
from vestigo_ui.web.auth.users import Role

MAX_LINE = 300
"""Characters of a log's last line that are shown."""
TAIL_BYTES = 4096


def start_retry(context: PageContext, run: str, inputs: Sequence[str] = (), reason: str | None = None) -> None:
    """Start to retry `inputs` of a run, or all, or those of one `reason`; the command writes an audit entry.

    Raises:
        UsageError: The user is not an admin, or the run is driven or retried already.
    """
    context.require(Role.ADMIN, "A retry")
    if context.store.runs.is_driven(run):
        raise UsageError(f"Run {run} is active. Wait until it ends, or stop it with `vestigo runs cancel {run}`.")
    if shared_processes().is_running(run):
        raise UsageError(f"Run {run} is retried already.")
    shared_processes().start(run, retry_command(context, run, inputs, reason), log_path(context.store, run))


def retry_command(context: PageContext, run: str, inputs: Sequence[str], reason: str | None) -> list[str]:
    """Return the command; values follow `=` or `--`, so that none is read as an option."""
    values = {"store": context.store.ref, "by": context.user.name, "case": context.case}
    values |= {"authority": context.authority, "reason": reason}
    options = [f"--{name}={value}" for name, value in values.items() if value is not None]
    return [sys.executable, "-m", "vestigo_ui.cli.main", "runs", "retry", *options, "--", run, *inputs]


def log_path(store: Store, run: str) -> Path:
    """Return the log file of a retry, in the folder of the browse index."""
    return index_path(store).with_name("retries") / f"{run}.log"


def last_log_line(store: Store, run: str) -> str:
    """Return the last line of a retry's log; "" if it is empty or missing."""
    try:
        with log_path(store, run).open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:MAX_LINE] if lines else ""


class ServerProcesses:
    """Commands that this server has started, by name: the run that is retried."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self, run: str, command: Sequence[str], log: Path) -> None:
        """Start a command in its own session; only the owner may read its log."""
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock, open(log, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
            self._processes[run] = process
        # A driver that is a zombie counts as alive, so wait for it.
        threading.Thread(target=process.wait, name=f"retry-{run}", daemon=True).start()

    def is_running(self, run: str) -> bool:
        """Return whether a command for a run is running."""
        return run in self._processes and self._processes[run].poll() is None

    def status(self, run: str) -> int | None:
        """Return the exit status of a run's command; None if it is running or was not started."""
        process = self._processes.get(run)
        return None if process is None else process.poll()


@st.cache_resource(show_spinner=False)
def shared_processes() -> ServerProcesses:
    """Return the commands that this process has started."""
    return ServerProcesses()
