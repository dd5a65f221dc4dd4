"""Runs of the archive: the list, newest first, and the progress of active ones."""

import math
import time
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.store.runs.records import Run, RunTotals, status_text
from vestigo_ui.app import url_state
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.components.tables import choose_row
from vestigo_ui.app.context import PageContext, shared_store
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.text import format_span, format_utc

PAGE = 20
INTERVAL_S = 3
MAX_RECENT = 40
"""Newest runs that are searched for active ones."""
RATE_WINDOW_S = 60
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
        parts.append(f"{rate:.1f} inputs/s")
        parts.append(f"{format_span(math.ceil(totals.pending / rate))} left")
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
    row = choose_row(context, frame, name="runs", title="Runs", columns=columns)
    if row is not None:
        url_state.put(run=runs[row].id, reason=None, failures=None)
        st.rerun()
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
