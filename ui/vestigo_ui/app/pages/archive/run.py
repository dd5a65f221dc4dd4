"""One run: its ledger, what it left out and why, and trying that again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.store.runs.records import InputFailure, FailureCount, Run, RunTotals, status_text
from vestigo_models.errors import UsageError
from vestigo_ui.app import url_state
from vestigo_ui.app.components import tables
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.pages.archive import retry as archive_retry
from vestigo_ui.app.pages.archive.runs import KINDS, totals
from vestigo_ui.app.pages.archive.timeline import length
from vestigo_ui.app.text import count_text, escape_md, format_utc
from vestigo_ui.web.auth.users import Role

PAGE = 50
LOOK_S = 2
ANY = "any reason"


def show(context: PageContext, run: Run) -> None:
    """Show a run."""
    outcome = totals(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "All runs",
            icon=":material/arrow_back:",
            shortcut="Alt+Up",
            on_click=lambda: url_state.put(run=None, reason=None, failures=None),
        )
        st.subheader(f"Run {run.id}", anchor=False)
    st.caption(" · ".join(facts(run, outcome)))
    _ledger(outcome)
    _ended_badly(context, run)
    retrying(context, run.id)
    counts = context.store.runs.failure_counts(run.id)
    if not counts:
        st.caption("It left nothing out." if not outcome.pending else "It left nothing out so far.")
        return
    _failures(context, run, counts)


def facts(run: Run, outcome: RunTotals) -> list[str]:
    """Say what a run was, and how it went."""
    said = [
        KINDS.get(run.kind, run.kind),
        status_text(run.status, outcome),
        f"began {format_utc(run.created)} UTC",
    ]
    if run.finished is not None:
        said.append(f"ended {format_utc(run.finished)} UTC")
    said.append(f"{length(round(run.seconds, 1))} of work")
    if run.seconds > 0:
        said.append(f"{(outcome.inputs - outcome.pending) / run.seconds:.1f} inputs/s")
    return [*said, f"model {run.model[:12]}"]


def count_frame(counts: Sequence[FailureCount]) -> pd.DataFrame:
    """Return the reasons as a table."""
    columns = {
        "Reason": [count.reason for count in counts],
        "Inputs": [count.inputs for count in counts],
        "Frames": [count.frames for count in counts],
    }
    return pd.DataFrame(columns)


def failure_frame(failures: Sequence[InputFailure]) -> pd.DataFrame:
    """Return what was left out as a table; a whole input has no frame."""
    columns = {
        "Input": [failure.input for failure in failures],
        "Frame": ["–" if failure.frame is None else str(failure.frame) for failure in failures],
        "Reason": [failure.reason for failure in failures],
        "Detail": [failure.detail for failure in failures],
    }
    return pd.DataFrame(columns)


def _ledger(outcome: RunTotals) -> None:
    names = ("inputs", "done", "empty", "quarantined", "pending", "frame_failures")
    made = ("regions",) if outcome.regions else ("crops", "tracklets")
    words = {"regions": "Label maps", "frame_failures": "Frames left out"}
    with st.container(horizontal=True):
        for name in (*names, *made):
            st.metric(words.get(name, name.capitalize()), f"{getattr(outcome, name):,}")


def _ended_badly(context: PageContext, run: Run) -> None:
    """Say what a run failed of, and how it goes on. The line may name folders of the server: it is for its keepers."""
    if run.status not in ("failed", "cancelled"):
        return
    line = run.error if context.may(Role.ADMIN) and run.error else ""
    why = f"It failed: {line}" if line else ("It failed." if run.status == "failed" else "It was cancelled.")
    resume = f"`vestigo runs resume {run.id} --store STORE`"
    st.warning(
        f"{escape_md(why.removesuffix('.'))}. What it did is kept; go on with {resume}.",
        icon=":material/error:",
    )


@st.fragment(run_every=LOOK_S)
def retrying(context: PageContext, run: str) -> None:
    """Say how trying again goes, from the moment it was asked for; the page is shown anew when it ends."""
    with report_errors(ignore_outages=True):
        _retrying(context, run)


def _retrying(context: PageContext, run: str) -> None:
    children = archive_retry.retry_processes()
    known = st.session_state.get("archive-retrying")
    if children.is_running(run):
        st.session_state["archive-retrying"] = run
        if not context.store.runs.is_driven(run):
            st.info("The inputs are being tried again.", icon=":material/hourglass_top:")
        return
    if known == run:
        st.session_state["archive-retrying"] = None
        st.rerun()
    if children.status(run) and context.may(Role.ADMIN):
        line = archive_retry.last_line(context.store, run).removeprefix("vestigo: ")
        st.error(f"Trying again ended early: {escape_md(line) or 'it said nothing'}", icon=":material/error:")


def _failures(context: PageContext, run: Run, counts: Sequence[FailureCount]) -> None:
    reasons = [count.reason for count in counts]
    st.subheader("Left out", anchor=False)
    left, right = st.columns([2, 5])
    with left:
        tables.show_table(context, count_frame(counts), name="reasons", title=f"Reasons of run {run.id}")
    with right:
        st.session_state["archive-reason"] = url_state.one_of("reason", reasons, ANY)
        st.selectbox(
            "Reason",
            [ANY, *reasons],
            key="archive-reason",
            on_change=lambda: url_state.put(
                failures=None,
                reason=None if st.session_state["archive-reason"] == ANY else st.session_state["archive-reason"],
            ),
            width=320,
        )
        reason = None if st.session_state["archive-reason"] == ANY else str(st.session_state["archive-reason"])
        chosen = [count for count in counts if reason in (None, count.reason)]
        page = choose_page(sum(count.inputs + count.frames for count in chosen), PAGE, name="failures", what="failures")
        some = list(context.store.runs.failures(run.id, PAGE, offset=page * PAGE, reason=reason))
        may = context.may(Role.ADMIN)
        picking: dict[str, Any] = {"on_select": "rerun", "selection_mode": "multi-row"} if may else {}
        shown = tables.show_table(
            context,
            failure_frame(some),
            name="failures",
            title=f"Left out by run {run.id}",
            columns={"Detail": st.column_config.TextColumn(width="large")},
            **picking,
        )
        if may:
            picked = [some[row] for row in shown.selection.rows if row < len(some)]
            _retry(context, run, sum(count.inputs for count in chosen), reason, picked)


def _retry(context: PageContext, run: Run, inputs: int, reason: str | None, picked: Sequence[InputFailure]) -> None:
    """Offer to try inputs again: those picked in the table, else all of the reason. Frames go with their input."""
    names = list(dict.fromkeys(failure.input for failure in picked if failure.frame is None))
    busy = context.store.runs.is_driven(run.id) or archive_retry.retry_processes().is_running(run.id)
    count = len(names) or inputs
    what = count_text(count, "chosen input" if names else "input")
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            f"Try {what} again",
            icon=":material/replay:",
            disabled=busy or not count,
            key="archive-retry",
        )
        if not count:
            st.caption("Single frames are tried again with the video that they belong to.")
        elif busy:
            st.caption("Somebody is driving this run; wait until it ends.")
        else:
            st.caption("A file whose content changed is another input: `vestigo index` its source again.")
    if pressed:
        try:
            archive_retry.start(context, run.id, names, None if names else reason)
        except UsageError as error:
            st.error(str(error), icon=":material/error:")
            return
        st.session_state["archive-retrying"] = run.id
        st.rerun()
