"""Refresh of the browse index while pages are open."""

import threading

import streamlit as st

from vestigo.sightings.index import BrowseIndex
from vestigo_ui.app.context import PageContext, shared_index
from vestigo_ui.app.errors import report_errors

INTERVAL_S = 10
BEHIND = "freshness-behind"
MAX_FOREGROUND = 20_000
"""Crops that are indexed while the page waits; more are indexed in the background."""


@st.fragment(run_every=INTERVAL_S)
def refresh_index(context: PageContext) -> None:
    """Refresh the browse index, or report how many crops it lacks while a thread refreshes it."""
    with report_errors(ignore_outages=True):
        missing = context.index.pending()
        # The page was shown without the crops of a background refresh; show it again when that has ended.
        behind = st.session_state.pop(BEHIND, False)
        if missing <= MAX_FOREGROUND:
            if context.index.refresh() or behind:
                st.rerun()
            return
        st.session_state[BEHIND] = True
        shared_refresher(shared_index()).start()
        st.info(
            f"{missing:,} new crops are being indexed for browsing; pages lack them until then.",
            icon=":material/hourglass_top:",
        )


class IndexRefresher:
    """Refreshes a browse index in a thread, one refresh at a time."""

    def __init__(self, index: BrowseIndex) -> None:
        self._index = index
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start a refresh unless one is running."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._index.refresh, name="browse-index", daemon=True)
                self._thread.start()


@st.cache_resource(show_spinner=False)
def shared_refresher(_index: BrowseIndex) -> IndexRefresher:
    """Return the refresher of this process."""
    return IndexRefresher(_index)
