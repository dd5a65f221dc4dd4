"""The runs of the archive, newest first, and those that go on right now."""

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
from vestigo_ui.app.components import tables
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.context import PageContext, shared_store
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.pages.archive.timeline import length
from vestigo_ui.app.text import format_utc

PAGE = 20
LOOK_S = 3
RECENT = 40
"""Runs that are looked through for those that go on; one that is older has long been forgotten by its driver."""
PACE_S = 60
"""A rate is that of the last minute, once there is one."""
Pace = list[tuple[float, int]]
KINDS = {"index": "Index", "regions": "Regions"}


@dataclass(frozen=True)
class ActiveRun:
    """A run that has not ended; `driven` says whether somebody is at it."""

    run: Run
    totals: RunTotals
    driven: bool


def going(context: PageContext) -> list[ActiveRun]:
    """Return the runs that have not ended, newest first."""
    some = [run for run in context.store.runs.list(newest_first=True, limit=RECENT) if run.status == "running"]
    return [ActiveRun(run, context.store.runs.totals(run.id), context.store.runs.is_driven(run.id)) for run in some]


@st.fragment(run_every=LOOK_S)
def progress(context: PageContext) -> None:
    """Show runs while they go on, and show the page anew when one begins or ends."""
    with report_errors(ignore_outages=True):
        _progress(context)


def _progress(context: PageContext) -> None:
    found = going(context)
    known = st.session_state.get("archive-going")
    now = sorted((one.run.id, one.driven) for one in found)
    st.session_state["archive-going"] = now
    for one in found:
        _going(one)
    if known is not None and known != now:
        st.rerun()


def _going(one: ActiveRun) -> None:
    run, totals = one.run, one.totals
    settled = totals.inputs - totals.pending
    if not one.driven:
        st.warning(
            f"Run {run.id} was interrupted: {settled:,} of {totals.inputs:,} inputs are done and kept. Go on with "
            f"`vestigo runs resume {run.id} --store STORE`.",
            icon=":material/pause_circle:",
        )
        return
    paces: dict[str, Pace] = st.session_state.setdefault("archive-pace", {})
    paces[run.id] = recent([*paces.get(run.id, []), (time.monotonic(), settled)])
    if not run.planned:
        st.progress(0.0, text=f"Run {run.id} is reading its sources · {totals.inputs:,} inputs so far")
        return
    words = [f"{settled:,} of {totals.inputs:,} inputs", f"{totals.crops:,} crops"]
    if speed := rate(paces[run.id], settled, run.seconds):
        words.append(f"{speed:.1f} inputs/s")
        words.append(f"{length(math.ceil(totals.pending / speed))} left")
    if totals.failures:
        words.append(f"{totals.failures:,} left out")
    if run.cancel_requested:
        words.append("stopping")
    done = settled / totals.inputs if totals.inputs else 0.0
    st.progress(done, text=f"Run {run.id} · {' · '.join(words)}")


def recent(pace: Pace) -> Pace:
    """Return what a rate is told from: the looks of the last minute, and the one before them."""
    old = [place for place, (at, _) in enumerate(pace) if at < pace[-1][0] - PACE_S]
    return pace[old[-1] :] if old else pace


def rate(pace: Pace, settled: int, seconds: float) -> float:
    """Return inputs a second: of the last minute where some ended in it, else of all the time that it was driven."""
    (first, before), (last, after) = pace[0], pace[-1]
    if after > before and last > first:
        return (after - before) / (last - first)
    return settled / seconds if seconds > 0 else 0.0


def show(context: PageContext) -> None:
    """Show the runs, a page at a time; a click opens one (`?run=`)."""
    count = context.store.runs.count()
    if not count:
        st.info("Nothing has run yet. Index an archive with `vestigo index SOURCE --store STORE`.")
        return
    page = choose_page(count, PAGE, name="runs", what="runs")
    runs = context.store.runs.list(newest_first=True, offset=page * PAGE, limit=PAGE)

    def chosen() -> None:
        rows = st.session_state["table-runs"]["selection"]["rows"]
        if rows:
            url_state.put(run=runs[rows[0]].id, reason=None, failures=None)

    tables.show_table(
        context,
        run_frame([(run, totals(run)) for run in runs]),
        name="runs",
        title="Runs",
        columns={
            name: st.column_config.NumberColumn(format="localized")
            for name in ("Inputs", "Done", "Empty", "Quarantined", "Pending", "Frames left out", "Crops", "Label maps")
        }
        | {"Inputs/s": st.column_config.NumberColumn(format="%.1f")},
        on_select=chosen,
        selection_mode="single-row",
    )
    st.caption("Choose a run to see what it left out, and why.")


def run_frame(runs: Sequence[tuple[Run, RunTotals]]) -> pd.DataFrame:
    """Return runs as a table."""
    rows: list[dict[str, Any]] = []
    for run, counted in runs:
        settled = counted.inputs - counted.pending
        rows.append(
            {
                "Run": run.id,
                "Began (UTC)": format_utc(run.created),
                "Kind": KINDS.get(run.kind, run.kind),
                "Status": status_text(run.status, counted),
                "Inputs": counted.inputs,
                "Pending": counted.pending,
                "Crops": counted.crops,
                "Quarantined": counted.quarantined,
                "Frames left out": counted.frame_failures,
                "Done": counted.done,
                "Empty": counted.empty,
                "Label maps": counted.regions,
                "Time": length(round(run.seconds, 1)),
                "Inputs/s": settled / run.seconds if run.seconds > 0 else None,
            }
        )
    return pd.DataFrame(rows)


def totals(run: Run) -> RunTotals:
    """Count what became of a run; a run that ended is counted once."""
    if run.status == "running":
        return shared_store().totals(run.id)
    return _ended(run.id, run.status, str(run.finished))


@st.cache_data(max_entries=400, show_spinner=False)
def _ended(run: str, status: str, finished: str) -> RunTotals:
    return shared_store().totals(run)
