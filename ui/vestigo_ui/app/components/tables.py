"""Tables with downloads as CSV, Parquet and HTML."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.csv_files import frame_to_csv
from vestigo.reports.page import table_page
from vestigo_ui.app import url_state
from vestigo_ui.app.context import PageContext
from vestigo_ui.web.auth.users import Role


def show_table(
    context: PageContext,
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    columns: Mapping[str, Any] | None = None,
    max_rows: int | None = None,
    **options: Any,
) -> Any:
    """Show a table with its downloads; return the result of `st.dataframe`, which gets the further `options`.

    Columns whose names end with `(%)` are shown with one decimal, `columns` configures others. `name` is that of the
    files and the widgets, `max_rows` the number of rows that are visible without scrolling.
    """
    percent = st.column_config.NumberColumn(format="%.1f")
    config = {column: percent for column in frame.columns if column.endswith("(%)")} | dict(columns or {})
    if max_rows is not None:
        options["height"] = min(len(frame) + 1, max_rows + 1) * 35 + 3
    result = st.dataframe(frame, column_config=config, hide_index=True, key=f"table-{name}", placeholder="–", **options)
    show_downloads(context, frame, name=name, title=title)
    return result


def percent_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table whose columns with names that end with `(%)` are floats, also where all are None."""
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys((name for name in frame.columns if name.endswith("(%)")), "float64"))


def open_row(
    context: PageContext, frame: pd.DataFrame, parameter: str, values: Sequence[str], *clear: str, **options: Any
) -> None:
    """Show a table as `show_table` does; a selected row opens.

    The value of the row, one of `values`, is then written to `parameter` of the address, which loses those in `clear`.
    """
    event = show_table(context, frame, on_select="rerun", selection_mode="single-row", **options)
    for row in event.selection.rows:
        url_state.put(**dict.fromkeys(clear), **{parameter: values[row]})
        st.rerun()


def show_downloads(
    context: PageContext, frame: pd.DataFrame, *, name: str, title: str, page: Callable[[], str] | None = None
) -> None:
    """Offer a table as CSV, Parquet and HTML; `page` makes an HTML page in place of the plain one.

    A file is made when it is downloaded: then the session and role of the user are checked and the audit entry is
    committed, whatever sends the request. Without them no file exists.
    """
    kinds: dict[str, tuple[str, str, Callable[[], str | bytes]]] = {
        "csv": ("CSV", "text/csv", lambda: frame_to_csv(frame)),
        "parquet": ("Parquet", "application/vnd.apache.parquet", lambda: frame.to_parquet(index=False)),
        "html": ("HTML", "text/html", page or partial(_html_page, context, frame, title)),
    }
    with st.container(horizontal=True, gap="small"):
        for suffix, (label, mime, make) in kinds.items():
            st.download_button(
                label,
                partial(_export, context, make, f"{name}.{suffix}", len(frame)),
                f"{name}.{suffix}",
                mime,
                key=f"download-{name}-{suffix}",
                icon=":material/download:",
                type="tertiary",
                disabled=frame.empty,
                on_click="ignore",
            )


def _export(context: PageContext, make: Callable[[], str | bytes], name: str, rows: int) -> str | bytes:
    context.require_valid()
    context.require(Role.VIEWER, "A download")
    context.audit("export", what=name, rows=rows)
    return make()


def _html_page(context: PageContext, frame: pd.DataFrame, title: str) -> str:
    facts = {"Store": context.store_name, "As of": context.index.snapshot[:12], "Rows": f"{len(frame):,}"}
    return table_page(frame, title, facts)
