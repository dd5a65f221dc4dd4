"""A choice that stands in the address."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from vestigo_ui.app import url_state as links


def one_of(
    label: str,
    options: Sequence[str],
    name: str,
    *,
    shown: Callable[[str], str] = str,
    forget: Sequence[str] = (),
    offer: Callable[..., Any] = st.selectbox,
    default: str | None = None,
    **more: Any,
) -> str:
    """Offer one of `options`; the address has it under `name`, or nothing for the default, by default the first.

    Another choice begins with the first page, and takes the parameters `forget` from the address. Further arguments are
    those of the widget `offer`.
    """
    first = options[0] if default is None else default
    # A browser goes on sending what it had chosen of other options under the same key.
    key = f"choice-{name}-{zlib.crc32(repr(options).encode())}"
    st.session_state[key] = links.one_of(name, options, first)

    def changed() -> None:
        value = st.session_state[key]
        links.put(**dict.fromkeys(("page", *forget)), **{name: None if value in (None, first) else value})

    picked = offer(label, options, key=key, format_func=shown, on_change=changed, **more)
    return first if picked is None else str(picked)
