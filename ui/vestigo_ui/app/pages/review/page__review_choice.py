"""What page Review is about, as its address has it: a project, and what of it is shown."""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app.components.choice import one_of

PROGRESS, PROPOSE, CORRECT, SETS = "progress", "propose", "correct", "sets"
PANES = {PROGRESS: "Progress", PROPOSE: "Propose", CORRECT: "Correct", SETS: "Label sets"}


def pane_of() -> str:
    """Offer the panes."""
    return one_of("Show", list(PANES), "pane", shown=PANES.__getitem__, offer=st.segmented_control, width="content")
