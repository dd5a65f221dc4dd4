"""Page Archive: what cameras recorded, the runs that indexed it, and quarantined inputs.

The address holds `show` (cameras or runs); of the cameras `find`, `cameras` (the page), `camera` and `frame`; of the
runs `runs` (the page), `run`, `reason` and `failures` (the page).
"""

from typing import Any

import streamlit as st

from vestigo_models.errors import StoreError
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_segment
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.archive.cameras import show_cameras
from vestigo_ui.app.pages.archive.runs import show_active_runs, show_run, show_runs

PANES = {"cameras": "Cameras", "runs": "Runs"}


def show(context: PageContext) -> None:
    """Show active runs, and below them cameras or runs."""
    st.title("Archive", anchor=False)
    runs, crops = context.store.runs.count(), sum(context.store.models.crop_counts().values())
    if runs:
        show_active_runs(context)
    if not runs and not crops:
        st.info(
            "The store has no crops yet. Index a video, a folder, a .tar or a .zip with `vestigo index SOURCE --store "
            "STORE`. Crops are shown as soon as the run commits them.",
            icon=":material/inbox:",
        )
        return
    default = "runs" if url_state.text("run") or not crops else "cameras"
    options: dict[str, Any] = {"clear": (), "write": url_state.replace, "label_visibility": "collapsed"}
    pane = choose_segment("Show", PANES, "show", key="archive-pane", default=default, **options)
    if pane == "runs":
        _show_run_or_list(context)
    elif crops:
        show_cameras(context, context.model())
    else:
        st.info("The store has no crops yet. “Runs” shows active runs and quarantined inputs.", icon=":material/inbox:")


def _show_run_or_list(context: PageContext) -> None:
    if run_id := url_state.text("run"):
        try:
            run = context.store.runs.get(run_id)
        except StoreError:
            st.warning("The store has no run with this id.", icon=":material/help:")
        else:
            show_run(context, run)
            return
    show_runs(context)
