"""What is said when something goes wrong while a page is shown: one sentence, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from sqlalchemy.exc import DBAPIError

from vestigo_models.errors import VestigoError

TROUBLES = (VestigoError, DBAPIError, OSError)
"""What may go wrong with a store, its models and its archive."""


@contextmanager
def told() -> Iterator[None]:
    """Say what goes wrong inside, in place of the rest of it."""
    try:
        yield
    except TROUBLES as error:
        tell(error)


@contextmanager
def watched() -> Iterator[None]:
    """The same for what looks again by itself, as a fragment: of a store that does not answer the page tells."""
    try:
        yield
    except VestigoError as error:
        tell(error)
    except TROUBLES:
        return


def tell(error: Exception) -> None:
    """Say what went wrong."""
    if isinstance(error, VestigoError):
        st.error(str(error), icon=":material/error:")
        return
    st.error(
        "The store does not answer: its database or its files cannot be reached. Nothing is lost; try again in a "
        "moment, and tell whoever runs it if that does not help.",
        icon=":material/cloud_off:",
    )
    st.button("Try again", icon=":material/refresh:")
