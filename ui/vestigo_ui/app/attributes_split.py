"""How right a model is about an attribute on each camera, and as time goes by."""

from __future__ import annotations

from typing import cast, get_args

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.labeling import Period, Reviewed
from vestigo.labeling.precision import periods_of
from vestigo_ui.app import charts
from vestigo_ui.app.attributes_choice import View, one_of
from vestigo_ui.app.attributes_reviews import Reviews, Split, by_camera, by_period
from vestigo_ui.app.desk import Desk
from vestigo_ui.app.tables import table

ENOUGH = 5
"""Fewer reviewed tasks say too little to be drawn; the table has them."""


def show_cameras(desk: Desk, view: View, known: Reviews) -> None:
    """Show the accuracy on each camera that something was reviewed of."""
    if known.sample is None:
        return
    parts = by_camera(known.key, view.attribute.name, view.value, view.sure, known.sample.reviewed)
    _show(desk, view, parts, "Camera")


def show_time(desk: Desk, view: View, known: Reviews) -> None:
    """Show the accuracy by day, week or month, what the address says (`?by=week`)."""
    if known.sample is None:
        return
    reviewed = known.sample.reviewed
    offered = get_args(Period)
    period = one_of(
        "By",
        offered,
        "by",
        offer=st.segmented_control,
        shown=str.capitalize,
        default=fitting(reviewed),
        label_visibility="collapsed",
    )
    key = known.key, view.attribute.name, view.value, view.sure
    parts = by_period(*key, cast("Period", period), reviewed)
    if parts:
        _show(desk, view, parts, period.capitalize())
    else:
        st.caption("The reviewed crops have no time: their cameras did not say, or their names do not tell.")


def fitting(reviewed: Reviewed) -> Period:
    """The longest period of which the reviewed crops fall into more than one; days where they are all of one."""
    for period in reversed(get_args(Period)):
        if len(set(periods_of(reviewed.time, period).tolist()) - {""}) > 1:
            return cast("Period", period)
    return "day"


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
    made = charts.figure(x=name, y=f"{what} (%)", height=280, legend=False)
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


def _show(desk: Desk, view: View, parts: Split, name: str) -> None:
    frame = split_table(parts, name)
    what = f"Precision of {view.value}" if view.value else "Accuracy"
    few = int((frame["Tasks"] < ENOUGH).sum())
    if few < len(frame):
        charts.chart(dots(frame, name, what), key=f"attributes-by-{name}", alt=f"{what} by {name.lower()}")
    if few:
        st.caption(f"{few} of {len(frame)} are not drawn: fewer than {ENOUGH} tasks of them were reviewed.")
    with st.expander("As a table", expanded=few == len(frame)):
        number = st.column_config.NumberColumn
        table(
            desk,
            frame,
            name=f"precision-{view.attribute.name}-by-{name.lower()}",
            title=f"{what} of {view.attribute.title} by {name.lower()}",
            columns={column: number(format="%.1f") for column in frame.columns if column.endswith("(%)")},
            placeholder="–",
            height=min(len(frame) + 1, 9) * 35 + 3,
        )
