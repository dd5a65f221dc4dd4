"""The page of rankings."""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app.desk import Desk


def show(desk: Desk) -> None:
    """Show the page."""
    st.title("Rankings", anchor=False)
