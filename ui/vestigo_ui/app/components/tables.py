"""Tables with their downloads: CSV, Parquet and an HTML page of what is shown."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.reports.page import table_page
from vestigo_ui.app.context import Desk


def table(
    desk: Desk,
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    columns: Mapping[str, Any] | None = None,
    page: Callable[[], str] | None = None,
    **shown: Any,
) -> Any:
    """Show a table and offer it as files; what is taken away is written to the audit log.

    `name` is that of the files and of the widgets, `columns` Streamlit's column configuration, `page` makes the HTML
    page in place of the plain one. Further arguments are those of `st.dataframe`, whose result is returned.
    """
    shown = {"placeholder": "–"} | shown
    result = st.dataframe(frame, column_config=columns, hide_index=True, key=f"table-{name}", **shown)
    downloads(desk, frame, name=name, title=title, page=page)
    return result


def downloads(desk: Desk, frame: pd.DataFrame, *, name: str, title: str, page: Callable[[], str] | None = None) -> None:
    """Offer a table as CSV, Parquet and HTML."""
    kinds: dict[str, tuple[str, Callable[[], str | bytes]]] = {
        "csv": ("text/csv", lambda: frame.to_csv(index=False)),
        "parquet": ("application/vnd.apache.parquet", lambda: as_parquet(frame)),
        "html": ("text/html", page or (lambda: as_page(desk, frame, title))),
    }
    with st.container(horizontal=True, gap="small"):
        for suffix, (mime, made) in kinds.items():
            st.download_button(
                suffix.upper() if suffix != "parquet" else "Parquet",
                made,
                f"{name}.{suffix}",
                mime,
                key=f"download-{name}-{suffix}",
                icon=":material/download:",
                type="tertiary",
                disabled=frame.empty,
                on_click=desk.audit,
                args=("export",),
                kwargs={"what": f"{name}.{suffix}", "rows": len(frame)},
            )


def as_parquet(frame: pd.DataFrame) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def as_page(desk: Desk, frame: pd.DataFrame, title: str) -> str:
    """Return a table as an HTML page."""
    return table_page(frame, title, {"Store": desk.name, "As of": desk.index.snapshot[:12], "Rows": f"{len(frame):,}"})
