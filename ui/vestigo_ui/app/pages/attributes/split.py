"""How right a model is about an attribute on each camera, and as time goes by."""

from __future__ import annotations

from typing import cast, get_args

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.precision import Period
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.reviews import Reviews, Split, by_camera, by_period
from vestigo_ui.app.pages.attributes.selection import View

CAMERA = "camera"
ENOUGH = 5
"""Fewer reviewed tasks say too little to be drawn; the table has them."""


def show_split(context: PageContext, view: View, known: Reviews) -> None:
    """Show the accuracy by camera, day, week or month, as the address says (`?by=week`)."""
    if known.sample is None:
        return
    offered = (CAMERA, *get_args(Period))
    by = choose_one(
        "By",
        offered,
        "by",
        clear=(
            "page",
            "crop",
        ),
        widget=st.segmented_control,
        format_func=str.capitalize,
        label_visibility="collapsed",
    )
    key, reviewed = (known.key, view.attribute.name, view.value, view.sure), known.sample.reviewed
    if by == CAMERA:
        parts = by_camera(*key, reviewed)
    else:
        parts = by_period(*key, cast("Period", by), reviewed)
    if not parts:
        st.caption("The times of the reviewed crops are not known: choose Camera.")
        return
    frame = split_table(parts, by.capitalize())
    what = f"Precision of {view.value}" if view.value else "Accuracy"
    few = int((frame["Tasks"] < ENOUGH).sum())
    if few < len(frame):
        charts.show_figure(dots(frame, by.capitalize(), what), key=f"attributes-by-{by}", alt=f"{what} by {by}")
    if few:
        st.caption(f"{few} of {len(frame)} are not drawn: fewer than {ENOUGH} tasks of them were reviewed.")
    with st.expander("As a table", expanded=few == len(frame)):
        number = st.column_config.NumberColumn
        show_table(
            context,
            frame,
            name=f"precision-{view.attribute.name}-by-{by}",
            title=f"{what} of {view.attribute.title} by {by}",
            columns={column: number(format="%.1f") for column in frame.columns if column.endswith("(%)")},
            height=min(len(frame) + 1, 9) * 35 + 3,
        )


def split_table(parts: Split, name: str) -> pd.DataFrame:
    """A row for each part; shares in percent."""
    rows = [
        {
            name: part,
            "Precision (%)": None if point.precision is None else 100 * point.precision.value,
            "From (%)": None if point.precision is None else 100 * point.precision.low,
            "To (%)": None if point.precision is None else 100 * point.precision.high,
            "Tasks": 0 if point.precision is None else point.precision.reviewed,
        }
        for part, point in parts.items()
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(("Precision (%)", "From (%)", "To (%)"), "float64"))


def dots(frame: pd.DataFrame, name: str, what: str) -> go.Figure:
    """A point with its interval for each part that rests on enough tasks."""
    known = frame[frame["Tasks"] >= ENOUGH]
    made = charts.new_figure(x=name, y=f"{what} (%)", height=280, legend=False)
    made.add_scatter(
        x=known[name],
        y=known["Precision (%)"],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": known["To (%)"] - known["Precision (%)"],
            "arrayminus": known["Precision (%)"] - known["From (%)"],
        },
        mode="markers",
        marker={"size": 9},
        customdata=known[["From (%)", "To (%)", "Tasks"]],
        hovertemplate="%{x}: %{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}), %{customdata[2]} tasks"
        "<extra></extra>",
    )
    made.update_xaxes(type="category", categoryorder="array", categoryarray=list(known[name]))
    return made
