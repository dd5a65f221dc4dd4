"""The page of attributes."""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app.desk import Desk


def show(desk: Desk) -> None:
    """Show the page."""
    st.title("Attributes", anchor=False)
