"""Trying again what a run left out: the command line's own work, in a process that outlives page and server."""

from __future__ import annotations

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

LINE = 300
"""Characters of a log's last line that are shown."""
TAIL = 4096


def start(context: PageContext, run: str, inputs: Sequence[str] = (), reason: str | None = None) -> None:
    """Begin to try inputs of a run again, all by default; the command writes who asked to the audit log.

    Raises:
        UsageError: the person may not, the run is driven by somebody, or it is being tried again already.
    """
    if not context.may(Role.ADMIN):
        raise UsageError("only an admin may try inputs again")
    if context.store.runs.is_driven(run):
        raise UsageError(f"run {run} is being driven: wait until it ends, or stop it with `vestigo runs cancel {run}`")
    if retry_processes().is_running(run):
        raise UsageError(f"run {run} is being tried again already")
    retry_processes().start(run, command(context, run, inputs, reason), log_path(context.store, run))


def command(context: PageContext, run: str, inputs: Sequence[str], reason: str | None) -> list[str]:
    """Return the command that does it; what a person wrote stands behind `--` or `=`, so that it is never an option."""
    given = {"store": context.store.ref, "by": context.user.name, "case": context.case, "authority": context.authority}
    given["reason"] = reason
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return [sys.executable, "-m", "vestigo_ui.cli.main", "runs", "retry", *options, "--", run, *inputs]


def log_path(store: Store, run: str) -> Path:
    """Return where the command writes what it says: beside the browse index, which is the screen's own place."""
    return index_path(store).with_name("retries") / f"{run}.log"


def last_line(store: Store, run: str) -> str:
    """Return the last thing that the command said, "" where it said nothing or never ran."""
    try:
        with log_path(store, run).open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - TAIL))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:LINE] if lines else ""


class RetryProcesses:
    """The commands that this server began, by run."""

    def __init__(self) -> None:
        self._begun: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self, run: str, arguments: Sequence[str], log: Path) -> None:
        """Run a command apart from this process; its log is for the owner's eyes."""
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock, open(log, "wb", opener=lambda path, flags: _private(path, flags)) as out:
            child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
            self._begun[run] = child
        # Nobody else waits for it, and a dead driver that nobody waited for looks alive to the next one.
        threading.Thread(target=child.wait, name=f"retry-{run}", daemon=True).start()

    def is_running(self, run: str) -> bool:
        """Say whether a command for a run is still at it."""
        return self.status(run) is None and run in self._begun

    def status(self, run: str) -> int | None:
        """Return with what a command for a run ended; None while it runs, and where there was none."""
        child = self._begun.get(run)
        return None if child is None else child.poll()


@st.cache_resource(show_spinner=False)
def retry_processes() -> RetryProcesses:
    """Return those of this server."""
    return RetryProcesses()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
