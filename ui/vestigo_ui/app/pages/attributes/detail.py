"""One attribute in detail: precision against coverage, by camera and over time, and its confusion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.confusion import Confusion, ConfusionCell
from vestigo.review.estimates.precision import Period
from vestigo.review.estimates.threshold_curve import CurvePoint
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo_models.arrays import Int64Array
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.choice import choose_segment
from vestigo_ui.app.components.tables import percent_frame, show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes import estimates
from vestigo_ui.app.pages.attributes.estimates import SelectedSample, estimate_columns
from vestigo_ui.app.pages.attributes.selection import SEPARATOR, AttributesSelection, restart_sheet
from vestigo_ui.app.text import count_text, escape_md

SLIDER = "attributes-sure"
BAND = "rgba(0, 114, 178, 0.18)"
CAMERA = "camera"
MIN_TASKS = 5
"""Parts with fewer annotated tasks are in the table only."""
NO_ANNOTATIONS = "No annotated prediction has this confidence. Choose a lower threshold, or annotate more."
ROW, MARGIN = 44, 120
"""Height in pixels of a row and of everything else."""
MAX_DECIMALS = 5
"""With more values than this, shares have no decimal."""
Cells = list[tuple[str, str, ConfusionCell]]
"""Predicted value, label and cell, row after row."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Crops of the archive: (101,) counts with at least each confidence in percent, and the number of all crops."""

    counts: Int64Array
    crops: int

    def share(self, percent: int) -> float:
        """Return the share of crops with at least some confidence in percent; 0 without crops."""
        return int(self.counts[percent]) / self.crops if self.crops else 0.0


def load_coverage(context: PageContext, selection: AttributesSelection) -> Coverage:
    """Return the coverage of all crops, or of those predicted as the selected value."""
    histograms = _confidence_histograms(selection.model.digest, context.index_state, selection.cameras, context)
    counts = histograms[selection.attribute.name]
    counts = counts[selection.attribute.values.index(selection.value)] if selection.value else counts.sum(axis=0)
    return Coverage(counts=counts[::-1].cumsum()[::-1], crops=int(counts.sum()))


@st.cache_data(max_entries=16, show_spinner=False)
def _confidence_histograms(
    model: str, state: tuple[str, int], cameras: tuple[str, ...] | None, _context: PageContext
) -> dict[str, Int64Array]:
    return _context.index.confidence_histograms(model, cameras)


def choose_threshold(coverage: Coverage, selection: AttributesSelection) -> None:
    """Show the threshold of the page, which the address holds as a fraction (`?sure=0.8`), and its coverage."""
    percent = round(100 * selection.confidence)
    st.session_state[SLIDER] = percent

    def changed() -> None:
        restart_sheet(sure=int(st.session_state[SLIDER]) / 100 or None)

    st.slider("Least confidence of predictions", 0, 100, key=SLIDER, format="%d %%", on_change=changed)
    crops = f"crops predicted as {selection.value}" if selection.value else "crops"
    if percent:
        st.caption(
            f"Coverage {coverage.share(percent):.1%}: {int(coverage.counts[percent]):,} of {coverage.crops:,} {crops} "
            f"have a confidence of at least {percent} %."
        )
    else:
        st.caption(f"Coverage 100 %: all {coverage.crops:,} {crops}.")


def show_curve(
    context: PageContext, selection: AttributesSelection, sample: SelectedSample, coverage: Coverage
) -> None:
    """Show the precision against the coverage, with the selected threshold, and as a table."""
    attribute, measure = selection.attribute, selection.measure
    points = estimates.precision_by_threshold(sample.key, attribute.name, selection.value, sample.sample.reviewed)
    percent = round(100 * selection.confidence)
    estimate = points[percent].precision
    if estimate is None:
        st.caption(NO_ANNOTATIONS)
    else:
        interval = f"{estimate.low:.1%} to {estimate.high:.1%} at 95 %"
        st.caption(f"**{escape_md(measure)}: {estimate.value:.1%}** ({interval}), from {estimate.reviewed:,} tasks.")
    if any(point.precision is not None for point in points):
        figure = curve_figure(points, coverage, percent, measure)
        charts.show_figure(figure, key="attributes-curve", alt=f"{measure} against coverage")
        with st.expander("As a table"):
            title = f"{measure} of {attribute.title} by threshold"
            frame = curve_table(points, coverage)
            show_table(context, frame, name=f"precision-{attribute.name}", title=title, max_rows=7)


def curve_figure(points: Sequence[CurvePoint], coverage: Coverage, percent: int, measure: str) -> go.Figure:
    """Return the figure: coverage along, precision with its interval upwards, and a mark at one threshold."""
    frame = curve_table(points, coverage)
    known = frame[frame["Precision (%)"].notna() & (frame["Crops"] > 0)]
    x, y = known["Coverage (%)"], known["Precision (%)"]
    figure = charts.new_figure(x="Coverage (%)", y=f"{measure} (%)", height=340)
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    band = {"fill": "tonexty", "fillcolor": BAND, "showlegend": True, "name": "95 % interval"}
    figure.add_scatter(x=x, y=known["From (%)"], **edge)
    figure.add_scatter(x=x, y=known["To (%)"], **edge | band)
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        marker={"size": 4},
        line={"color": charts.COLOURS[0], "width": 2},
        name=measure,
        text=[f"confidence from {place} %" for place in known.index],
        customdata=known[["From (%)", "To (%)", "Tasks"]],
        hovertemplate="%{text}: %{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}) of %{x:.1f} % of crops, "
        "%{customdata[2]} tasks<extra></extra>",
    )
    if percent in known.index:
        marker = {"size": 15, "symbol": "diamond", "color": charts.COLOURS[1]}
        name = f"Confidence from {percent} %"
        figure.add_scatter(x=x[[percent]], y=y[[percent]], mode="markers", marker=marker, name=name, hoverinfo="skip")
    return figure


def curve_table(points: Sequence[CurvePoint], coverage: Coverage) -> pd.DataFrame:
    """Return one row for each threshold."""
    rows = [
        {
            "Confidence (%)": 100 * point.confidence,
            "Crops": int(coverage.counts[place]),
            "Coverage (%)": 100 * coverage.share(place),
            **estimate_columns("Precision", point.precision),
        }
        for place, point in enumerate(points)
    ]
    return percent_frame(rows)


def show_split(context: PageContext, selection: AttributesSelection, sample: SelectedSample) -> None:
    """Show the precision by camera, day, week or month, the `by` of the address."""
    titles = {part: part.capitalize() for part in (CAMERA, *get_args(Period))}
    by = choose_segment("By", titles, "by", clear=("page", "crop"), label_visibility="collapsed")
    attribute, measure = selection.attribute, selection.measure
    period = None if by == CAMERA else cast("Period", by)
    parts = estimates.precision_by_part(
        sample.key, attribute.name, selection.value, selection.confidence, period, sample.sample.reviewed
    )
    if not parts:
        st.caption("The times of the annotated crops are unknown. Choose Camera.")
        return
    rows = [{by.capitalize(): part, **estimate_columns("Precision", share)} for part, share in parts.items()]
    frame = percent_frame(rows)
    few = int((frame["Tasks"] < MIN_TASKS).sum())
    if few < len(frame):
        figure = split_figure(frame, by.capitalize(), measure)
        charts.show_figure(figure, key=f"attributes-by-{by}", alt=f"{measure} by {by}")
    if few:
        st.caption(f"{few} of {len(frame)} are omitted: they have fewer than {MIN_TASKS} annotated tasks.")
    with st.expander("As a table", expanded=few == len(frame)):
        title = f"{measure} of {attribute.title} by {by}"
        show_table(context, frame, name=f"precision-{attribute.name}-by-{by}", title=title, max_rows=8)


def split_figure(frame: pd.DataFrame, name: str, measure: str) -> go.Figure:
    """Return the figure: a point with its interval for each part with enough tasks."""
    known = frame[frame["Tasks"] >= MIN_TASKS]
    figure = charts.new_figure(x=name, y=f"{measure} (%)", height=280, legend=False)
    figure.add_scatter(
        x=known[name],
        y=known["Precision (%)"],
        error_y=charts.error_bars(known["From (%)"], known["Precision (%)"], known["To (%)"]),
        mode="markers",
        marker={"size": 9},
        customdata=known[["From (%)", "To (%)", "Tasks"]],
        hovertemplate="%{x}: %{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}), %{customdata[2]} tasks"
        "<extra></extra>",
    )
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=list(known[name]))
    return figure


def show_confusion(context: PageContext, selection: AttributesSelection, sample: SelectedSample, cell: str) -> None:
    """Show the cells of the attribute; a click on one shows its crops (`?cell=yes~no`)."""
    name = selection.attribute.name
    confusion = estimates.confusion_of(sample.key, name, selection.confidence, sample.sample.reviewed)
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
        hoverinfo="skip",
        showscale=False,
        **charts.MATRIX,
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
