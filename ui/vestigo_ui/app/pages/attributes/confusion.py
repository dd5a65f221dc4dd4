"""Predicted against answered: where the model's mistakes about an attribute go, cell by cell, each to look into."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.confusion import Confusion, ConfusionCell
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.reviews import Reviews, confused
from vestigo_ui.app.pages.attributes.selection import BETWEEN, View, start_again
from vestigo_ui.app.text import count_text

CLICKED = "attributes-cell-clicked"
ROW, MARGIN = 44, 120
"""Pixels of height."""
ROOMY = 6
"""With fewer values there is room for a decimal."""


def show_confusion(context: PageContext, view: View, known: Reviews, cell: str) -> None:
    """Show the cells of the attribute; a click on one shows its crops (`?cell=yes~no`)."""
    if known.sample is None:
        return
    found = confused(known.key, view.attribute.name, view.sure, known.sample.reviewed)
    if not any(one.tasks for row in (*found.cells, found.cannot_tell) for one in row):
        st.caption("Nothing that was reviewed here is as sure. Choose a lower threshold, or review more.")
        return
    st.caption("Of what is predicted, the share (%) that is truly so, and how many tasks were answered so.")
    shown = charts.show_figure(
        heat_map(found, cell),
        key="attributes-confusion",
        alt=f"Answered values of {view.attribute.title} by predicted value",
        modes=["points"],
    )
    points = shown.selection.points
    clicked = points[0]["customdata"][0] if points else None
    # The selection stays while other things on the page are chosen.
    if clicked != st.session_state.get(CLICKED):
        st.session_state[CLICKED] = clicked
        if clicked is not None:
            start_again(cell=clicked)
            st.rerun()
    with st.expander("As a table"):
        frame = confusion_table(found)
        number = st.column_config.NumberColumn
        show_table(
            context,
            frame,
            name=f"confusion-{view.attribute.name}",
            title=f"Confusions of {view.attribute.title}",
            columns={name: number(format="%.1f") for name in frame.columns if name.endswith("(%)")},
            height=280,
        )


def heat_map(found: Confusion, chosen: str) -> go.Figure:
    """The figure: predicted values downwards, answers along; colour and number are shares, the count of tasks below."""
    answers = [*found.values, CANNOT_TELL]
    rows = [(*row, untold) for row, untold in zip(found.cells, found.cannot_tell, strict=True)]
    shares = [[None if cell.share is None else 100 * cell.share.value for cell in row] for row in rows]
    made = charts.new_figure(x="Answered", y="Predicted", height=MARGIN + ROW * len(found.values), legend=False)
    made.add_heatmap(
        z=shares,
        x=answers,
        y=list(found.values),
        zmin=0,
        zmax=100,
        colorscale=charts.SCALE,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        showscale=False,
    )
    flat = [(said, told, rows[i][j]) for i, said in enumerate(found.values) for j, told in enumerate(answers)]
    codes = [f"{said}{BETWEEN}{told}" for said, told, _ in flat]
    made.add_scatter(
        x=[told for _, told, _ in flat],
        y=[said for said, _, _ in flat],
        mode="markers+text",
        marker={
            "symbol": "square-open",
            "size": [30 if code == chosen else 28 for code in codes],
            "color": charts.COLOURS[1],
            "line": {"width": 3},
            "opacity": [1.0 if code == chosen else 0.0 for code in codes],
        },
        text=[written(cell, len(found.values)) for *_, cell in flat],
        textfont={"color": [_ink(cell) for *_, cell in flat], "size": 12},
        customdata=[[code] for code in codes],
        hovertext=[_told(said, told, cell) for said, told, cell in flat],
        hovertemplate="%{hovertext}<extra></extra>",
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 1}},
    )
    made.update_xaxes(type="category", side="top", showgrid=False)
    made.update_yaxes(type="category", autorange="reversed", showgrid=False)
    made.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select", dragmode=False)
    return made


def written(cell: ConfusionCell, values: int) -> str:
    """What stands in a cell of so many a row: the share in percent, and how many tasks were answered so."""
    if not cell.tasks:
        return ""
    share = "" if cell.share is None else f"{100 * cell.share.value:.{int(values < ROOMY)}f}<br>"
    return f"{share}<span style='font-size:10px'>{cell.tasks:,}</span>"


def confusion_table(found: Confusion) -> pd.DataFrame:
    """A row for each pair of a predicted value and an answer."""
    rows: list[dict[str, Any]] = []
    for said, cells, untold in zip(found.values, found.cells, found.cannot_tell, strict=True):
        for told, cell in zip((*found.values, CANNOT_TELL), (*cells, untold), strict=True):
            share = cell.share
            rows.append(
                {
                    "Predicted": said,
                    "Answered": told,
                    "Share (%)": None if share is None else 100 * share.value,
                    "From (%)": None if share is None else 100 * share.low,
                    "To (%)": None if share is None else 100 * share.high,
                    "Tasks": cell.tasks,
                    "Crops": cell.crops,
                }
            )
    return pd.DataFrame(rows).astype(dict.fromkeys(("Share (%)", "From (%)", "To (%)"), "float64"))


def _ink(cell: ConfusionCell) -> str:
    """Readable on the cell's colour; grey where it has none and the page shows through."""
    if cell.share is None:
        return "#8c8c8c"
    return "#000000" if cell.share.value > 0.5 else "#ffffff"


def _told(said: str, told: str, cell: ConfusionCell) -> str:
    counts = f"{count_text(cell.tasks, 'task')}, {count_text(cell.crops, 'crop')}"
    if cell.share is None:
        return f"predicted {said}, answered {told}: {counts}"
    share = cell.share
    return f"predicted {said}, {told}: {share.value:.1%} ({share.low:.1%} to {share.high:.1%}), {counts}"
