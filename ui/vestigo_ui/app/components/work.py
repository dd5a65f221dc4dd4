"""Buttons for work that takes long, which is done even if other input stops the run of the page."""

from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vestigo_ui.app.components.actions import action_button

T = TypeVar("T")


def work_button(
    label: str, work: Callable[[], T], *, key: str, place: DeltaGenerator | None = None, **options: Any
) -> T | None:
    """Show a button, and do its work after a click.

    Other input stops the run of a page, and with it the work, which the next run does again.

    Args:
        label: Text of the button.
        work: What to do. It can be interrupted between two elements of the page, and continues what it has begun.
        key: Key of the button.
        place: Container of the button, None for one of its own.
        options: Other arguments of `action_button`.

    Returns:
        The result of the work, or None without a click.
    """
    waiting = f"{key}-waiting"

    def wait() -> None:
        st.session_state[waiting] = True

    with place or st.container():
        action_button(label, wait, key=key, **options)
    if not st.session_state.get(waiting):
        return None
    try:
        result = work()
    except Exception:
        del st.session_state[waiting]
        raise
    del st.session_state[waiting]
    return result
