"""Runs of the archive: the list, newest first, and the progress of active ones."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.store.runs.records import Run, RunTotals, status_text
from vestigo_ui.app import url_state
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.components.tables import show_table
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


@dataclass(frozen=True)
class ActiveRun:
    """A run that has not ended; `is_driven` tells whether a driver holds its lease."""

    run: Run
    totals: RunTotals
    is_driven: bool


def active_runs(context: PageContext) -> list[ActiveRun]:
    """Return the runs that have not ended, the newest first."""
    store = context.store
    running = [run for run in store.runs.list(newest_first=True, limit=MAX_RECENT) if run.status == "running"]
    return [ActiveRun(run, store.runs.totals(run.id), store.runs.is_driven(run.id)) for run in running]


@st.fragment(run_every=INTERVAL_S)
def show_active_runs(context: PageContext) -> None:
    """Show the progress of active runs, and run the page again when one starts or ends."""
    with report_errors(ignore_outages=True):
        active = active_runs(context)
        before = st.session_state.get("archive-going")
        now = sorted((each.run.id, each.is_driven) for each in active)
        st.session_state["archive-going"] = now
        for each in active:
            _show_progress(each)
        if before is not None and before != now:
            st.rerun()


def _show_progress(active: ActiveRun) -> None:
    run, totals = active.run, active.totals
    settled = totals.inputs - totals.pending
    if not active.is_driven:
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
    """Return inputs per second in the samples' time, or of the whole run if none was settled in it.

    Args:
        samples: At least one sample.
        settled: Inputs that the run has settled.
        seconds: Time that the run was driven.
    """
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

    def selected() -> None:
        rows = st.session_state["table-runs"]["selection"]["rows"]
        if rows:
            url_state.put(run=runs[rows[0]].id, reason=None, failures=None)

    show_table(
        context,
        run_table([(run, run_totals(run)) for run in runs]),
        name="runs",
        title="Runs",
        columns=dict.fromkeys(_COUNTS, st.column_config.NumberColumn(format="localized"))
        | {"Inputs/s": st.column_config.NumberColumn(format="%.1f")},
        on_select=selected,
        selection_mode="single-row",
    )
    st.caption("Select a run to see its quarantined inputs.")


def run_table(runs: Sequence[tuple[Run, RunTotals]]) -> pd.DataFrame:
    """Return one row for each run."""
    rows: list[dict[str, Any]] = []
    for run, totals in runs:
        settled = totals.inputs - totals.pending
        rows.append(
            {
                "Run": run.id,
                "Started (UTC)": format_utc(run.created),
                "Kind": KINDS.get(run.kind, run.kind),
                "Status": status_text(run.status, totals),
                "Inputs": totals.inputs,
                "Pending": totals.pending,
                "Crops": totals.crops,
                "Quarantined": totals.quarantined,
                "Failed frames": totals.frame_failures,
                "Done": totals.done,
                "Empty": totals.empty,
                "Label maps": totals.regions,
                "Time": format_span(round(run.seconds, 1)),
                "Inputs/s": settled / run.seconds if run.seconds > 0 else None,
            }
        )
    return pd.DataFrame(rows)


def run_totals(run: Run) -> RunTotals:
    """Return the totals of a run; those of an ended run are cached."""
    if run.status == "running":
        return shared_store().runs.totals(run.id)
    return _ended_totals(run.id, run.status, str(run.finished))


@st.cache_data(max_entries=400, show_spinner=False)
def _ended_totals(run: str, status: str, finished: str) -> RunTotals:
    return shared_store().runs.totals(run)
