"""Choice among options that the address holds."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from vestigo_ui.app import url_state


def choose_one(
    label: str,
    options: Mapping[str, str] | Sequence[str],
    name: str,
    *,
    clear: Sequence[str] = ("page",),
    widget: Callable[..., Any] = st.selectbox,
    default: str | None = None,
    key: str | None = None,
    write: Callable[..., None] = url_state.put,
    **widget_options: Any,
) -> str:
    """Show a choice among options and return the chosen value.

    Args:
        label: Label of the widget.
        options: Values to choose from, as keys of their titles if the two differ.
        name: Parameter of the address that holds the value; the default is not written.
        clear: Parameters that a change of the choice removes from the address.
        widget: Streamlit widget that shows the choice.
        default: Value without a parameter, the first option if None.
        key: Key of the widget, made from the options if None.
        write: Writes parameters to the address.
        **widget_options: Further arguments of the widget.
    """
    if widget is st.segmented_control:
        # Otherwise a click on the active segment clears the choice, and the page jumps to the default.
        widget_options.setdefault("required", True)
    titles = options if isinstance(options, Mapping) else dict(zip(options, options, strict=True))
    values = list(titles)
    first = values[0] if default is None else default
    # A browser keeps sending the old value under an old key when the options change.
    key = key or f"choice-{name}-{zlib.crc32(repr(values).encode())}"
    st.session_state[key] = url_state.one_of(name, values, first, kind=label.lower())

    def changed() -> None:
        value = st.session_state[key]
        write(**dict.fromkeys(clear), **{name: None if value in (None, first) else value})

    value = widget(label, values, key=key, format_func=titles.__getitem__, on_change=changed, **widget_options)
    return first if value is None else str(value)


def back_button(label: str, *parameters: str, **options: Any) -> None:
    """Show a button that goes back to a list: it removes parameters from the address, all without any."""
    st.button(
        label,
        icon=":material/arrow_back:",
        shortcut="Alt+Up",
        on_click=url_state.put if parameters else url_state.replace,
        kwargs=dict.fromkeys(parameters),
        **options,
    )
