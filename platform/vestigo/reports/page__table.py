"""Any table as a page of its own."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vestigo.reports.page import render


def table_page(table: pd.DataFrame, title: str, facts: Mapping[str, str]) -> str:
    """Return the page; what is missing is an empty cell."""
    shown = table.astype(object).where(table.notna(), "")
    rows = [list(row) for row in shown.itertuples(index=False)]
    return render("table.html", {"title": title, "facts": facts, "columns": list(table.columns), "rows": rows})
