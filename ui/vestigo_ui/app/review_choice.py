"""What page Review is about, as its address has it: a project, and what of it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from vestigo_ui.app import links

PROGRESS, PROPOSE, CORRECT, SETS = "progress", "propose", "correct", "sets"
PANES = {PROGRESS: "Progress", PROPOSE: "Propose", CORRECT: "Correct", SETS: "Label sets"}


def pane_of() -> str:
    """Offer the panes."""
    return one_of("Show", list(PANES), "pane", shown=PANES.__getitem__, offer=st.segmented_control, width="content")


def one_of(
    label: str,
    options: Sequence[str],
    name: str,
    *,
    shown: Callable[[str], str] = str,
    offer: Callable[..., Any] = st.selectbox,
    default: str | None = None,
    **more: Any,
) -> str:
    """Offer one of `options`; the address has it under `name`, or nothing for the default, by default the first.

    Another choice starts paged lists anew.
    """
    first = options[0] if default is None else default
    key = f"review-{name}"
    st.session_state[key] = links.one_of(name, options, first)

    def changed() -> None:
        value = st.session_state[key]
        links.put(page=None, **{name: None if value in (None, first) else value})

    picked = offer(label, options, key=key, format_func=shown, on_change=changed, **more)
    return first if picked is None else str(picked)
