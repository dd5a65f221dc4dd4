"""Turning pages: numbers to click, keys to press, the page in the address."""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app import url_state as links


def pages(items: int, size: int, *, name: str = "page", what: str = "page") -> int:
    """Offer the pages of `items`, `size` each, and return the current one's number from 0.

    The address has it under `name`, counted from 1; whatever stands there is put within bounds. `what` tells the pages
    of several lists apart.
    """
    last = max(1, -(-items // size))
    page = links.number(name, 1, 1, last)
    if last == 1:
        return 0
    key = f"pages-{name}"
    # A key a page: the buttons beside it and the address set the page, too, which a widget's own state would outlive.
    numbers = f"{key}-{page}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"Previous {what}",
            key=f"{key}-before",
            icon=":material/chevron_left:",
            shortcut="Alt+Left",
            disabled=page == 1,
            on_click=turn_to,
            args=(name, page - 1),
        )
        st.pagination(last, default=page, key=numbers, on_change=lambda: turn_to(name, st.session_state[numbers]))
        st.button(
            f"Next {what}",
            key=f"{key}-after",
            icon=":material/chevron_right:",
            icon_position="right",
            shortcut="Alt+Right",
            disabled=page == last,
            on_click=turn_to,
            args=(name, page + 1),
        )
    return page - 1


def turn_to(name: str, page: int) -> None:
    """Write the number of a page, counted from 1, to the address."""
    links.put(**{name: page if page > 1 else None})
