"""Page numbers of a list: buttons, keys, and the page in the address."""

import streamlit as st

from vestigo_ui.app import url_state


def choose_page(items: int, size: int, *, name: str = "page", what: str = "page") -> int:
    """Show the page numbers of a list and return the current page, counted from 0.

    Args:
        items: Items of the list.
        size: Items of a page.
        name: Parameter of the address, counted from 1.
        what: Word on the buttons that names the list, if a page has several.
    """
    last = max(1, -(-items // size))
    page = url_state.number(name, 1, 1, last)
    if last == 1:
        return 0
    key = f"pages-{name}"
    # One key for each page: the buttons and the address change the page too, and a widget would keep its own state.
    numbers = f"{key}-{page}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"Previous {what}",
            key=f"{key}-before",
            icon=":material/chevron_left:",
            shortcut="Alt+Left",
            disabled=page == 1,
            on_click=_go_to,
            args=(name, page - 1),
        )
        st.pagination(last, default=page, key=numbers, on_change=lambda: _go_to(name, st.session_state[numbers]))
        st.button(
            f"Next {what}",
            key=f"{key}-after",
            icon=":material/chevron_right:",
            icon_position="right",
            shortcut="Alt+Right",
            disabled=page == last,
            on_click=_go_to,
            args=(name, page + 1),
        )
    return page - 1


def _go_to(name: str, page: int) -> None:
    url_state.put(**{name: page if page > 1 else None})
