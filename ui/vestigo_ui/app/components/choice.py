"""Choice among options that the address holds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from vestigo_ui.app import url_state


def choose_one(
    label: str,
    options: Sequence[str],
    name: str,
    *,
    format_func: Callable[[str], str] = str,
    clear: Sequence[str] = ("page",),
    widget: Callable[..., Any] = st.selectbox,
    default: str | None = None,
    key: str | None = None,
    write: Callable[..., None] = url_state.put,
    **widget_options: Any,
) -> str:
    """Show a choice among options and return the chosen one.

    Args:
        label: Label of the widget.
        options: Values to choose from.
        name: Parameter of the address that holds the value; the default is not written.
        format_func: Text of an option.
        clear: Parameters that a change of the choice removes from the address.
        widget: Streamlit widget that shows the choice.
        default: Value without a parameter, the first option if None.
        key: Key of the widget, made from the options if None.
        write: Writes parameters to the address.
        **widget_options: Further arguments of the widget.
    """
    first = options[0] if default is None else default
    # A browser keeps sending the old value under an old key when the options change.
    key = key or f"choice-{name}-{zlib.crc32(repr(options).encode())}"
    st.session_state[key] = url_state.one_of(name, options, first)

    def changed() -> None:
        value = st.session_state[key]
        write(**dict.fromkeys(clear), **{name: None if value in (None, first) else value})

    value = widget(label, options, key=key, format_func=format_func, on_change=changed, **widget_options)
    return first if value is None else str(value)
