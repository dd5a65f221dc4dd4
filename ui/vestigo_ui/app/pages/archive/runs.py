"""Runs of the archive: the list, the progress of active ones, and one run with the retry of its quarantined inputs."""

import math
import time
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.store.runs.records import FailureCount, InputFailure, Run, RunTotals, status_text
from vestigo_models.errors import UsageError
from vestigo_ui.app.components.actions import action_button
from vestigo_ui.app.components.choice import back_button, choose_one, choose_page
from vestigo_ui.app.components.processes import RUNNING, shared_processes, show_process, start_process
from vestigo_ui.app.components.tables import open_row, show_table
from vestigo_ui.app.context import PageContext, shared_store
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.text import count_text, escape_md, format_span, format_utc
from vestigo_ui.web.auth.users import Role

PAGE, FAILURES_PAGE = 20, 50
INTERVAL_S = 3
MAX_RECENT = 40
"""Newest runs that are searched for active ones."""
MAX_NAMES = 20
"""Videos that a caption names at most."""
RATE_WINDOW_S = 60
ANY = "any reason"
Samples = list[tuple[float, int]]
"""Times in seconds with the number of inputs that were settled then."""
KINDS = {"index": "Index", "regions": "Regions"}
_COUNTS = ("Inputs", "Done", "Empty", "Quarantined", "Pending", "Failed frames", "Crops", "Label maps")


@st.fragment(run_every=INTERVAL_S)
def show_active_runs(context: PageContext) -> None:
    """Show the progress of active runs, and run the page again when one starts or ends."""
    with report_errors(ignore_outages=True):
        runs = context.store.runs
        active = [run for run in runs.list(newest_first=True, limit=MAX_RECENT) if run.status == "running"]
        is_driven = {run.id: runs.is_driven(run.id) for run in active}
        before = st.session_state.get("archive-going", is_driven)
        st.session_state["archive-going"] = is_driven
        for run in active:
            _show_progress(run, runs.totals(run.id), is_driven=is_driven[run.id])
        if before != is_driven:
            st.rerun()


def _show_progress(run: Run, totals: RunTotals, *, is_driven: bool) -> None:
    settled = totals.inputs - totals.pending
    if not is_driven:
        st.warning(
            f"Run {run.id} was interrupted: {settled:,} of {totals.inputs:,} inputs are committed. Continue with "
            f"`vestigo runs resume {run.id} --store STORE`.",
            icon=":material/pause_circle:",
        )
        return
    samples_by_run: dict[str, Samples] = st.session_state.setdefault("archive-pace", {})
    samples = recent_samples([*samples_by_run.get(run.id, []), (time.monotonic(), settled)])
    samples_by_run[run.id] = samples
    if not run.planned:
        st.progress(0.0, text=f"Run {run.id} reads its sources · {totals.inputs:,} inputs so far")
        return
    parts = [f"{settled:,} of {totals.inputs:,} inputs", f"{totals.crops:,} crops"]
    if rate := input_rate(samples, settled, run.seconds):
        parts += [f"{rate:.1f} inputs/s", f"{format_span(math.ceil(totals.pending / rate))} left"]
    if totals.failures:
        parts.append(f"{totals.failures:,} quarantined")
    if run.cancel_requested:
        parts.append("stopping")
    done = settled / totals.inputs if totals.inputs else 0.0
    st.progress(done, text=f"Run {run.id} · {' · '.join(parts)}")


def recent_samples(samples: Samples) -> Samples:
    """Return the samples of the last minute, and the one before them."""
    old = [place for place, (at, _) in enumerate(samples) if at < samples[-1][0] - RATE_WINDOW_S]
    return samples[old[-1] :] if old else samples


def input_rate(samples: Samples, settled: int, seconds: float) -> float:
    """Return inputs per second in the samples' time; if none was settled in it, of all `seconds` of the run."""
    (first, before), (last, after) = samples[0], samples[-1]
    if after > before and last > first:
        return (after - before) / (last - first)
    return settled / seconds if seconds > 0 else 0.0


def show_runs(context: PageContext) -> None:
    """Show a page of the runs; a click opens one."""
    count = context.store.runs.count()
    if not count:
        st.info("There are no runs yet. Index an archive with `vestigo index SOURCE --store STORE`.")
        return
    page = choose_page(count, PAGE, name="runs", what="runs")
    runs = context.store.runs.list(newest_first=True, offset=page * PAGE, limit=PAGE)
    number = st.column_config.NumberColumn
    columns = dict.fromkeys(_COUNTS, number(format="localized")) | {"Inputs/s": number(format="%.1f")}
    frame = pd.DataFrame([_run_row(run, run_totals(run)) for run in runs])
    ids = [run.id for run in runs]
    open_row(context, frame, "run", ids, "reason", "failures", name="runs", title="Runs", columns=columns)
    st.caption("Select a run to see its quarantined inputs.")


def _run_row(run: Run, totals: RunTotals) -> dict[str, Any]:
    return {
        "Run": run.id,
        "Started (UTC)": format_utc(run.created),
        "Kind": KINDS.get(run.kind, run.kind),
        "Status": status_text(run.status, totals),
        "Inputs": totals.inputs,
        "Pending": totals.pending,
        "Crops": totals.crops,
        "Quarantined": totals.quarantined,
        "Passed over": totals.passed_over,
        "Failed frames": totals.frame_failures,
        "Done": totals.done,
        "Empty": totals.empty,
        "Label maps": totals.regions,
        "Time": format_span(round(run.seconds, 1)),
        "Inputs/s": (totals.inputs - totals.pending) / run.seconds if run.seconds > 0 else None,
    }


def run_totals(run: Run) -> RunTotals:
    """Return the totals of a run; those of an ended run are cached."""
    if run.status == "running":
        return shared_store().runs.totals(run.id)
    return _ended_totals(run.id, run.status, str(run.finished))


@st.cache_data(max_entries=400, show_spinner=False)
def _ended_totals(run: str, status: str, finished: str) -> RunTotals:
    return shared_store().runs.totals(run)


def show_run(context: PageContext, run: Run) -> None:
    """Show one run: its ledger, its quarantined inputs, and their retry."""
    totals = run_totals(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        back_button("All runs", "run", "reason", "failures")
        st.subheader(f"Run {run.id}", anchor=False)
    _show_ledger(run, totals)
    if totals.passed_over:
        passed_over = context.store.runs.passed_over(run.id)
        kinds = ", ".join(f"{escape_md(kind)} {count:,}" for kind, count in passed_over.items())
        st.caption(f"Files passed over, by kind: {kinds}.")
    if videos := context.store.runs.videos_without_times(run.id, limit=MAX_NAMES):
        names = escape_md(", ".join(videos))
        st.caption(
            f"Times by frame number and rate, as these videos have none (at most {MAX_NAMES} are named): {names}."
        )
    if run.status in ("failed", "cancelled"):
        # The error may name folders of the server, so only admins see it.
        error = f": {run.error.removesuffix('.')}" if context.may(Role.ADMIN) and run.error else ""
        st.warning(
            f"The run {'failed' + escape_md(error) if run.status == 'failed' else 'was cancelled'}. Committed inputs "
            f"remain; continue with `vestigo runs resume {run.id} --store STORE`.",
            icon=":material/error:",
        )
    show_process(context, run.id, running="The inputs are retried.", failed="The retry", is_run=True)
    counts = context.store.runs.failure_counts(run.id)
    if counts:
        _show_quarantined(context, run, counts)
    else:
        st.caption("No input is quarantined so far." if totals.pending else "No input is quarantined.")


def _show_ledger(run: Run, totals: RunTotals) -> None:
    row = _run_row(run, totals)
    parts = [row["Kind"], row["Status"], f"started {row['Started (UTC)']} UTC"]
    if run.finished is not None:
        parts.append(f"ended {format_utc(run.finished)} UTC")
    parts.append(f"{row['Time']} of work")
    if row["Inputs/s"] is not None:
        parts.append(f"{row['Inputs/s']:.1f} inputs/s")
    st.caption(" · ".join([*parts, f"model {run.model[:12]}"]))
    names = ("inputs", "done", "empty", "quarantined", "passed_over", "pending", "frame_failures")
    outputs = ("regions",) if totals.regions else ("crops", "tracklets")
    titles = {"regions": "Label maps", "frame_failures": "Failed frames", "passed_over": "Passed over"}
    with st.container(horizontal=True):
        for name in (*names, *outputs):
            st.metric(titles.get(name, name.capitalize()), f"{getattr(totals, name):,}")


def _show_quarantined(context: PageContext, run: Run, counts: Sequence[FailureCount]) -> None:
    st.subheader("Quarantined inputs", anchor=False)
    left, right = st.columns([2, 5])
    with left:
        sizes = [(count.reason, count.inputs, count.frames) for count in counts]
        frame = pd.DataFrame(sizes, columns=["Reason", "Inputs", "Frames"])
        show_table(context, frame, name="reasons", title=f"Reasons of run {run.id}")
    with right:
        reasons = [ANY, *(count.reason for count in counts)]
        choice = choose_one("Reason", reasons, "reason", key="archive-reason", clear=("failures",), width=320)
        reason = None if choice == ANY else choice
        selected = [count for count in counts if reason in (None, count.reason)]
        total = sum(count.inputs + count.frames for count in selected)
        page = choose_page(total, FAILURES_PAGE, name="failures", what="failures")
        failures = list(context.store.runs.failures(run.id, FAILURES_PAGE, offset=page * FAILURES_PAGE, reason=reason))
        rows = [
            (failure.input, "–" if failure.frame is None else str(failure.frame), failure.reason, failure.detail)
            for failure in failures
        ]
        frame = pd.DataFrame(rows, columns=["Input", "Frame", "Reason", "Detail"])
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
    with st.container(horizontal=True, vertical_alignment="center"):
        reason = None if names else reason
        choice = zlib.crc32(repr((names, reason)).encode())
        action_button(
            f"Retry {count_text(count, 'selected input' if names else 'input')}",
            partial(_retry, context, run.id, names, reason),
            key=f"retry-{run.id}-{choice}",
            icon=":material/replay:",
            disabled=is_busy or not count,
        )
        if not count:
            st.caption("Single frames are retried with their video.")
        elif is_busy:
            st.caption("Another process drives this run. Wait until it ends.")
        else:
            st.caption("A file with new content is another input: index its source again with `vestigo index`.")


def _retry(context: PageContext, run: str, inputs: Sequence[str], reason: str | None) -> None:
    start_retry(context, run, inputs, reason)
    st.session_state[f"{RUNNING}{run}"] = True


def start_retry(context: PageContext, run: str, inputs: Sequence[str] = (), reason: str | None = None) -> None:
    """Start to retry `inputs` of a run, or all, or those of one `reason`; the command writes an audit entry.

    Raises UsageError if the user is not an admin, or the run is driven or retried already.
    """
    context.require(Role.ADMIN, "A retry")
    if context.store.runs.is_driven(run):
        raise UsageError(f"Run {run} is active. Wait until it ends, or stop it with `vestigo runs cancel {run}`.")
    if shared_processes().is_running(run):
        raise UsageError(f"Run {run} is retried already.")
    values = {"store": context.store.ref, "by": context.user.name, "case": context.case}
    values |= {"authority": context.authority, "reason": reason}
    # Values follow `=` or `--`, so that none is read as an option.
    options = [f"--{name}={value}" for name, value in values.items() if value is not None]
    start_process(context, run, ["runs", "retry", *options, "--", run, *inputs])
