"""Keeping the index of the archive up to date while people look at it."""

from __future__ import annotations

import threading

import streamlit as st

from vestigo.sightings.index import BrowseIndex
from vestigo_ui.app.context import Desk, the_index
from vestigo_ui.app.errors import watched

LOOK_S = 10
BEHIND = "freshness-behind"
AT_ONCE = 20_000
"""Crops that are indexed while somebody waits; more are indexed in the background, and the page says so."""


@st.fragment(run_every=LOOK_S)
def show(desk: Desk) -> None:
    """Bring the index up to date, or say how much of the archive is not in it yet."""
    with watched():
        _refresh(desk)


def _refresh(desk: Desk) -> None:
    missing = desk.index.pending()
    # The page was shown without what is being indexed in the background, and is shown anew once that is there.
    behind = st.session_state.pop(BEHIND, False)
    if missing <= AT_ONCE:
        if desk.index.refresh() or behind:
            st.rerun()
        return
    st.session_state[BEHIND] = True
    the_refresher(the_index()).begin()
    st.info(
        f"{missing:,} crops are being made ready to browse; what is shown here lacks them until then.",
        icon=":material/hourglass_top:",
    )


class Refresher:
    """Refreshes an index in a thread of its own, one at a time."""

    def __init__(self, index: BrowseIndex) -> None:
        self._index = index
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start to refresh unless that is under way."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._index.refresh, name="browse-index", daemon=True)
                self._thread.start()


@st.cache_resource(show_spinner=False)
def the_refresher(_index: BrowseIndex) -> Refresher:
    """Return the one refresher of this process."""
    return Refresher(_index)
