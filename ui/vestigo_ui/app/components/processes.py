"""Commands that the server runs for a page, each in a process that outlives the page and the server."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from vestigo.sightings.database import index_path
from vestigo.store.open import Store
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.text import escape_md
from vestigo_ui.web.auth.users import Role

MAX_LINE = 300
"""Characters of a log's last line that are shown."""
TAIL_BYTES = 4096
INTERVAL_S = 2
RUNNING = "process-running-"
"""Session key, with the name of a process: the page has not been shown since the process ended."""


class ServerProcesses:
    """Commands that this server has started, by name, such as the run that is retried."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self, name: str, command: Sequence[str], log: Path) -> None:
        """Start a command in its own session; only the owner may read its log."""
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock, open(log, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
            self._processes[name] = process
        # A driver that is a zombie counts as alive, so wait for it.
        threading.Thread(target=process.wait, name=f"process-{name}", daemon=True).start()

    def is_running(self, name: str) -> bool:
        """Return whether a command is running."""
        return name in self._processes and self._processes[name].poll() is None

    def has_failed(self, name: str) -> bool:
        """Return whether a command has ended with an error."""
        return name in self._processes and bool(self._processes[name].poll())


@st.cache_resource(show_spinner=False)
def shared_processes() -> ServerProcesses:
    """Return the commands that this process has started."""
    return ServerProcesses()


def start_process(context: PageContext, name: str, arguments: Sequence[str]) -> None:
    """Start Vestigo's command line with `arguments`."""
    command = [sys.executable, "-m", "vestigo_ui.cli.main", *arguments]
    shared_processes().start(name, command, log_path(context.store, name))


def log_path(store: Store, name: str) -> Path:
    """Return the log file of a process, in the folder of the browse index."""
    return index_path(store.ref).with_name("retries") / f"{name}.log"


@st.fragment(run_every=INTERVAL_S)
def show_process(context: PageContext, name: str, *, running: str, failed: str, is_run: bool = False) -> None:
    """Show that a process is `running`, or admins why it `failed`, and run the page again when it ends.

    With `is_run`, the name is that of a run, whose own progress is shown while it is driven.
    """
    with report_errors(ignore_outages=True):
        processes = shared_processes()
        if processes.is_running(name):
            st.session_state[f"{RUNNING}{name}"] = True
            if not (is_run and context.store.runs.is_driven(name)):
                st.info(running, icon=":material/hourglass_top:")
            return
        if st.session_state.pop(f"{RUNNING}{name}", False):
            st.rerun()
        if processes.has_failed(name) and context.may(Role.ADMIN):
            line = _last_log_line(context.store, name).removeprefix("vestigo: ")
            st.error(f"{failed} failed: {escape_md(line) or 'its log is empty'}", icon=":material/error:")


def _last_log_line(store: Store, name: str) -> str:
    """Return the last line of a process's log; "" if it is empty or missing."""
    try:
        with log_path(store, name).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:MAX_LINE] if lines else ""
