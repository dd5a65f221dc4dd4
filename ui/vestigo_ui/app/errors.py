"""Errors as a page shows them: one sentence and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from sqlalchemy.exc import DBAPIError

from vestigo_models.errors import StoreUnavailable, VestigoError
from vestigo_ui.app.text import escape_md

STORE_ERRORS = (VestigoError, DBAPIError, OSError)
"""What a store, its models and its archive may raise."""


@contextmanager
def report_errors(*, ignore_outages: bool = False) -> Iterator[None]:
    """Show an error of the block in place of what the block would have shown.

    Fragments that run again by themselves set `ignore_outages`: the page reports an outage.
    """
    try:
        yield
    except STORE_ERRORS as error:
        if not (ignore_outages and is_outage(error)):
            show_error(error)


def is_outage(error: Exception) -> bool:
    """Return whether an error is an outage of the store, which passes, and no error of the request."""
    return isinstance(error, StoreUnavailable) or not isinstance(error, VestigoError)


def show_error(error: Exception) -> None:
    """Show an error of the project as its message, any other as an outage of the store."""
    if not is_outage(error):
        st.error(escape_md(str(error), keep_code=True), icon=":material/error:")
        return
    st.error(
        "The store does not answer: its database or its files cannot be reached. Nothing is lost. Try again in a "
        "moment; if that does not help, contact the administrator of this server.",
        icon=":material/cloud_off:",
    )
    st.button("Try again", icon=":material/refresh:")
