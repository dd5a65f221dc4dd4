"""Confusion of one attribute: predicted values against labels; each cell opens its crops."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.confusion import Confusion, ConfusionCell
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import percent_frame, show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.estimates import SelectedSample, confusion_of, estimate_columns
from vestigo_ui.app.pages.attributes.precision import NO_ANNOTATIONS
from vestigo_ui.app.pages.attributes.selection import SEPARATOR, AttributesSelection, restart_sheet
from vestigo_ui.app.text import count_text

ROW, MARGIN = 44, 120
"""Height in pixels of a row and of everything else."""
MAX_DECIMALS = 5
"""With more values than this, shares have no decimal."""
Cells = list[tuple[str, str, ConfusionCell]]
"""Predicted value, label and cell, row after row."""


def show_confusion(context: PageContext, selection: AttributesSelection, sample: SelectedSample, cell: str) -> None:
    """Show the cells of the attribute; a click on one shows its crops (`?cell=yes~no`)."""
    if sample.sample is None:
        return
    name = selection.attribute.name
    confusion = confusion_of(sample.key, name, selection.confidence, sample.sample.reviewed)
    if not any(each.tasks for _, _, each in list_cells(confusion)):
        st.caption(NO_ANNOTATIONS)
        return
    st.caption("Estimated share (%) of the predictions that have the label, and the number of annotated tasks.")
    alt = f"Labels of {selection.attribute.title} by predicted value"
    clicked = charts.clicked_point(heat_map(confusion, cell), key="attributes-confusion", alt=alt)
    if clicked is not None:
        restart_sheet(cell=clicked)
        st.rerun()
    with st.expander("As a table"):
        title = f"Confusion of {selection.attribute.title}"
        show_table(context, confusion_table(confusion), name=f"confusion-{name}", title=title, max_rows=7)


def list_cells(confusion: Confusion) -> Cells:
    """Return the cells of all predicted values and labels, "cannot tell" included."""
    return [
        (value, label, cell)
        for value, cells, undecidable in zip(confusion.values, confusion.cells, confusion.cannot_tell, strict=True)
        for label, cell in zip((*confusion.values, CANNOT_TELL), (*cells, undecidable), strict=True)
    ]


def heat_map(confusion: Confusion, selected: str) -> go.Figure:
    """Return the figure: predicted values downwards, labels along, shares as colours; one cell is marked."""
    cells, width = list_cells(confusion), len(confusion.values) + 1
    shares = [None if cell.share is None else 100 * cell.share.value for *_, cell in cells]
    codes = [f"{value}{SEPARATOR}{label}" for value, label, _ in cells]
    figure = charts.new_figure(x="Label", y="Predicted", height=MARGIN + ROW * len(confusion.values), legend=False)
    figure.add_heatmap(
        z=[shares[start : start + width] for start in range(0, len(shares), width)],
        x=[*confusion.values, CANNOT_TELL],
        y=list(confusion.values),
        zmin=0,
        zmax=100,
        colorscale=charts.SCALE,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        showscale=False,
    )
    figure.add_scatter(
        x=[label for _, label, _ in cells],
        y=[value for value, _, _ in cells],
        mode="markers+text",
        marker={
            "symbol": "square-open",
            "size": [30 if code == selected else 28 for code in codes],
            "color": charts.COLOURS[1],
            "line": {"width": 3},
            "opacity": [1.0 if code == selected else 0.0 for code in codes],
        },
        text=[cell_text(cell, len(confusion.values)) for *_, cell in cells],
        textfont={"color": [_text_colour(cell) for *_, cell in cells], "size": 12},
        customdata=[[code] for code in codes],
        hovertext=[_hover_text(value, label, cell) for value, label, cell in cells],
        hovertemplate="%{hovertext}<extra></extra>",
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 1}},
    )
    figure.update_xaxes(type="category", side="top", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select", dragmode=False)
    return figure


def cell_text(cell: ConfusionCell, values: int) -> str:
    """Return the share in percent and the number of tasks, for a figure with some number of values."""
    if not cell.tasks:
        return ""
    share = "" if cell.share is None else f"{100 * cell.share.value:.{int(values <= MAX_DECIMALS)}f}<br>"
    return f"{share}<span style='font-size:10px'>{cell.tasks:,}</span>"


def confusion_table(confusion: Confusion) -> pd.DataFrame:
    """Return one row for each predicted value and label."""
    rows: list[dict[str, Any]] = [
        {"Predicted": value, "Label": label}
        | estimate_columns("Share", cell.share)
        | {"Tasks": cell.tasks, "Crops": cell.crops}
        for value, label, cell in list_cells(confusion)
    ]
    return percent_frame(rows)


def _text_colour(cell: ConfusionCell) -> str:
    if cell.share is None:
        return "#8c8c8c"
    return "#000000" if cell.share.value > 0.5 else "#ffffff"


def _hover_text(value: str, label: str, cell: ConfusionCell) -> str:
    counts = f"{count_text(cell.tasks, 'task')}, {count_text(cell.crops, 'crop')}"
    if cell.share is None:
        return f"predicted {value}, label {label}: {counts}"
    share = cell.share
    return f"predicted {value}, label {label}: {share.value:.1%} ({share.low:.1%} to {share.high:.1%}), {counts}"
