"""Choices that the address holds: one of several options, and the page of a list."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
        label: Label of the `widget`.
        options: Values to choose from, as keys of their titles if the two differ.
        name: Parameter of the address that holds the value; the default is not written.
        clear: Parameters that a change of the choice removes from the address.
        widget: Streamlit widget that shows the choice.
        default: Value without a parameter, the first option if None.
        key: Key of the widget, made from the options if None.
        write: Writes parameters to the address.
        **widget_options: Further arguments of the widget.
    """
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


choose_segment = partial(choose_one, widget=st.segmented_control, required=True)
"""Show a choice as segments; a click on the active one does not clear it."""


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


def choose_page(items: int, size: int, *, name: str = "page", what: str = "page") -> int:
    """Show the page numbers of a list and return the current page, counted from 0, of `items` on pages of a `size`.

    The parameter `name` of the address counts from 1; `what` names the list on the buttons, if a page has several.
    """
    last = max(1, -(-items // size))
    page = url_state.number(name, 1, 1, last)
    if last == 1:
        return 0
    key = f"pages-{name}"
    # One key for each page: the buttons and the address change the page too, and a widget would keep its own state.
    numbers = f"{key}-{page}"

    def step(word: str, to: int, side: str, **options: Any) -> None:
        options |= {"icon": f":material/chevron_{side}:", "shortcut": f"Alt+{side.capitalize()}"}
        st.button(f"{word} {what}", disabled=not 1 <= to <= last, on_click=_go_to, args=(name, to), **options)

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        step("Previous", page - 1, "left", key=f"{key}-before")
        st.pagination(last, default=page, key=numbers, on_change=lambda: _go_to(name, st.session_state[numbers]))
        step("Next", page + 1, "right", key=f"{key}-after", icon_position="right")
    return page - 1


def _go_to(name: str, page: int) -> None:
    url_state.put(**{name: page if page > 1 else None})
