"""Indexing of the archive with the serving model, in a process that outlives the page, and its progress."""

import sys

import streamlit as st

from vestigo_models.errors import UsageError
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.pages.archive.retry import last_log_line, log_path, shared_processes
from vestigo_ui.app.pages.archive.runs import show_active_runs
from vestigo_ui.app.text import escape_md
from vestigo_ui.web.auth.users import Role

REINDEX = "reindex"
"""Name of the process and of its log."""
INTERVAL_S = 2


def start_reindex(context: PageContext) -> None:
    """Start to replace the crops of other models by crops of the serving model.

    Raises:
        UsageError: The user is not an admin, or it runs already.
    """
    context.require(Role.ADMIN, "Indexing again")
    if shared_processes().is_running(REINDEX):
        raise UsageError("The archive is being indexed again already.")
    context.audit("reindex", model=context.store.models.serving())
    command = [sys.executable, "-m", "vestigo_ui.cli.main", "index", "--reindex-stale", f"--store={context.store.ref}"]
    shared_processes().start(REINDEX, command, log_path(context.store, REINDEX))


def show_reindex(context: PageContext) -> None:
    """Show the progress of indexing again, and of every other run; the page runs again when it has ended."""
    show_active_runs(context)
    _show_state(context)


@st.fragment(run_every=INTERVAL_S)
def _show_state(context: PageContext) -> None:
    with report_errors(ignore_outages=True):
        processes = shared_processes()
        if processes.is_running(REINDEX):
            st.session_state["models-reindexing"] = True
            st.info("The archive is indexed again with the serving model.", icon=":material/hourglass_top:")
            return
        if st.session_state.pop("models-reindexing", False):
            st.rerun()
        if processes.status(REINDEX) and context.may(Role.ADMIN):
            line = last_log_line(context.store, REINDEX).removeprefix("vestigo: ")
            st.error(f"Indexing again failed: {escape_md(line) or 'its log is empty'}", icon=":material/error:")
