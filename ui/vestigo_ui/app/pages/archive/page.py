"""The page Archive: which cameras saw whom and when, which runs indexed that, what they left out and why.

The address holds `show` (cameras or runs); of the cameras `find`, `cameras` (the page), `camera` and `frame`; of the
runs `runs` (the page), `run`, `reason` and `failures` (the page).
"""

from __future__ import annotations

import streamlit as st

from vestigo_models.errors import StoreError
from vestigo_ui.app import url_state
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.pages.archive import cameras as archive_cameras
from vestigo_ui.app.pages.archive import run as archive_run
from vestigo_ui.app.pages.archive import runs as archive_runs

PANES = {"cameras": "Cameras", "runs": "Runs"}


def show(context: PageContext) -> None:
    """Show what goes on, and below cameras or runs."""
    st.title("Archive", anchor=False)
    runs, crops = context.store.runs.count(), sum(context.store.models.crop_counts().values())
    if runs:
        archive_runs.progress(context)
    if not runs and not crops:
        st.info(
            "The store has no crops yet. Index a video, a folder, a .tar or a .zip with `vestigo index SOURCE --store "
            "STORE`; what has been committed is shown while that goes on.",
            icon=":material/inbox:",
        )
        return
    if _pane(bool(crops)) == "runs":
        _runs(context)
    elif crops:
        archive_cameras.show(context, context.model())
    else:
        st.info("No crop is stored yet: see under Runs what goes on, or what was left out.", icon=":material/inbox:")


def _pane(crops: bool) -> str:
    """Offer what the page can show."""
    first = "runs" if url_state.text("run") or not crops else "cameras"
    st.session_state["archive-pane"] = url_state.one_of("show", PANES, first)
    st.segmented_control(
        "Show",
        list(PANES),
        format_func=PANES.__getitem__,
        key="archive-pane",
        required=True,
        label_visibility="collapsed",
        on_change=lambda: url_state.replace(show=st.session_state["archive-pane"]),
    )
    return str(st.session_state["archive-pane"])


def _runs(context: PageContext) -> None:
    wanted = url_state.text("run")
    if wanted:
        try:
            run = context.store.runs.get(wanted)
        except StoreError:
            st.warning("The store has no run of that name.", icon=":material/help:")
        else:
            with report_errors():
                archive_run.show(context, run)
            return
    archive_runs.show(context)
