"""One run: its ledger, its quarantined inputs, and their retry."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.store.runs.records import FailureCount, InputFailure, Run, RunTotals, status_text
from vestigo_ui.app.components.choice import back_button, choose_one
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.pages.archive.retry import last_log_line, shared_processes, start_retry
from vestigo_ui.app.pages.archive.runs import KINDS, run_totals
from vestigo_ui.app.text import count_text, escape_md, format_span, format_utc
from vestigo_ui.web.auth.users import Role

PAGE = 50
INTERVAL_S = 2
ANY = "any reason"


def show_run(context: PageContext, run: Run) -> None:
    """Show a run."""
    totals = run_totals(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        back_button("All runs", "run", "reason", "failures")
        st.subheader(f"Run {run.id}", anchor=False)
    st.caption(" · ".join(describe_run(run, totals)))
    _show_ledger(totals)
    if totals.passed_over:
        kinds = ", ".join(
            f"{escape_md(kind)} {count:,}" for kind, count in context.store.runs.passed_over(run.id).items()
        )
        st.caption(f"Files passed over, by kind: {kinds}.")
    _show_failure(context, run)
    show_retry(context, run.id)
    counts = context.store.runs.failure_counts(run.id)
    if not counts:
        st.caption("No input is quarantined so far." if totals.pending else "No input is quarantined.")
        return
    _show_quarantined(context, run, counts)


def describe_run(run: Run, totals: RunTotals) -> list[str]:
    """Return kind, status, times, rate and model of a run as texts."""
    parts = [KINDS.get(run.kind, run.kind), status_text(run.status, totals), f"started {format_utc(run.created)} UTC"]
    if run.finished is not None:
        parts.append(f"ended {format_utc(run.finished)} UTC")
    parts.append(f"{format_span(round(run.seconds, 1))} of work")
    if run.seconds > 0:
        parts.append(f"{(totals.inputs - totals.pending) / run.seconds:.1f} inputs/s")
    return [*parts, f"model {run.model[:12]}"]


def _show_ledger(totals: RunTotals) -> None:
    names = ("inputs", "done", "empty", "quarantined", "passed_over", "pending", "frame_failures")
    outputs = ("regions",) if totals.regions else ("crops", "tracklets")
    titles = {"regions": "Label maps", "frame_failures": "Failed frames", "passed_over": "Passed over"}
    with st.container(horizontal=True):
        for name in (*names, *outputs):
            st.metric(titles.get(name, name.capitalize()), f"{getattr(totals, name):,}")


def _show_failure(context: PageContext, run: Run) -> None:
    """Show why a run failed; the error may name folders of the server, so only admins see it."""
    if run.status not in ("failed", "cancelled"):
        return
    error = f": {run.error.removesuffix('.')}" if context.may(Role.ADMIN) and run.error else ""
    st.warning(
        f"The run {'failed' + escape_md(error) if run.status == 'failed' else 'was cancelled'}. Committed inputs "
        f"remain; continue with `vestigo runs resume {run.id} --store STORE`.",
        icon=":material/error:",
    )


@st.fragment(run_every=INTERVAL_S)
def show_retry(context: PageContext, run: str) -> None:
    """Show the state of a retry, and run the page again when it ends."""
    with report_errors(ignore_outages=True):
        retries = shared_processes()
        if retries.is_running(run):
            st.session_state["archive-retrying"] = run
            if not context.store.runs.is_driven(run):
                st.info("The inputs are retried.", icon=":material/hourglass_top:")
            return
        if st.session_state.pop("archive-retrying", None) == run:
            st.rerun()
        if retries.status(run) and context.may(Role.ADMIN):
            line = last_log_line(context.store, run).removeprefix("vestigo: ")
            st.error(f"The retry failed: {escape_md(line) or 'its log is empty'}", icon=":material/error:")


def _show_quarantined(context: PageContext, run: Run, counts: Sequence[FailureCount]) -> None:
    st.subheader("Quarantined inputs", anchor=False)
    left, right = st.columns([2, 5])
    with left:
        rows = [(count.reason, count.inputs, count.frames) for count in counts]
        frame = pd.DataFrame(rows, columns=["Reason", "Inputs", "Frames"])
        show_table(context, frame, name="reasons", title=f"Reasons of run {run.id}")
    with right:
        reasons = [ANY, *(count.reason for count in counts)]
        choice = choose_one("Reason", reasons, "reason", key="archive-reason", clear=("failures",), width=320)
        reason = None if choice == ANY else choice
        selected = [count for count in counts if reason in (None, count.reason)]
        total = sum(count.inputs + count.frames for count in selected)
        page = choose_page(total, PAGE, name="failures", what="failures")
        failures = list(context.store.runs.failures(run.id, PAGE, offset=page * PAGE, reason=reason))
        frame = pd.DataFrame(
            {
                "Input": [failure.input for failure in failures],
                "Frame": ["–" if failure.frame is None else str(failure.frame) for failure in failures],
                "Reason": [failure.reason for failure in failures],
                "Detail": [failure.detail for failure in failures],
            }
        )
        columns = {"Detail": st.column_config.TextColumn(width="large")}
        is_admin = context.may(Role.ADMIN)
        selection: dict[str, Any] = {"on_select": "rerun", "selection_mode": "multi-row"} if is_admin else {}
        title = f"Quarantined inputs of run {run.id}"
        event = show_table(context, frame, name="failures", title=title, columns=columns, **selection)
        if is_admin:
            chosen = [failures[row] for row in event.selection.rows if row < len(failures)]
            _offer_retry(context, run, sum(count.inputs for count in selected), reason, chosen)


def _offer_retry(
    context: PageContext, run: Run, inputs: int, reason: str | None, selected: Sequence[InputFailure]
) -> None:
    """Offer to retry the inputs selected in the table, else all of the reason."""
    names = list(dict.fromkeys(failure.input for failure in selected if failure.frame is None))
    is_busy = context.store.runs.is_driven(run.id) or shared_processes().is_running(run.id)
    count = len(names) or inputs
    noun = count_text(count, "selected input" if names else "input")
    with st.container(horizontal=True, vertical_alignment="center"):
        is_disabled = is_busy or not count
        # A callback runs before the page, so that no other input can interrupt it.
        label, arguments = f"Retry {noun}", (context, run.id, names, None if names else reason)
        st.button(
            label,
            icon=":material/replay:",
            disabled=is_disabled,
            key="archive-retry",
            on_click=_start_retry,
            args=arguments,
        )
        if not count:
            st.caption("Single frames are retried with their video.")
        elif is_busy:
            st.caption("Another process drives this run. Wait until it ends.")
        else:
            st.caption("A file with new content is another input: index its source again with `vestigo index`.")


def _start_retry(context: PageContext, run: str, inputs: Sequence[str], reason: str | None) -> None:
    with report_errors():
        start_retry(context, run, inputs, reason)
        st.session_state["archive-retrying"] = run
