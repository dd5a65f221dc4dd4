"""Precision of one attribute: against coverage by threshold, by camera, and over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.precision import Period
from vestigo.review.estimates.shares import ShareEstimate
from vestigo.review.estimates.threshold_curve import CurvePoint
from vestigo_models.arrays import Int64Array
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.components.tables import percent_frame, show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.estimates import (
    SelectedSample,
    estimate_columns,
    precision_by_part,
    precision_by_threshold,
)
from vestigo_ui.app.pages.attributes.selection import AttributesSelection, index_state, restart_sheet
from vestigo_ui.app.text import escape_md

SLIDER = "attributes-sure"
BAND = "rgba(0, 114, 178, 0.18)"
CAMERA = "camera"
MIN_TASKS = 5
"""Parts with fewer annotated tasks are in the table only."""
NO_ANNOTATIONS = "No annotated prediction has this confidence. Choose a lower threshold, or annotate more."


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Crops of the archive by confidence.

    Attributes:
        counts: (101,) crops with at least each confidence in percent.
        crops: All crops that are considered.
    """

    counts: Int64Array
    crops: int

    def share(self, percent: int) -> float:
        """Return the share of crops with at least some confidence in percent; 0 without crops."""
        return int(self.counts[percent]) / self.crops if self.crops else 0.0


def load_coverage(context: PageContext, selection: AttributesSelection) -> Coverage:
    """Return the coverage of all crops, or of those predicted as the selected value."""
    state = index_state(context)
    histograms = _confidence_histograms(selection.model.digest, state, selection.cameras, context)
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
    if sample.sample is None:
        return
    attribute, measure = selection.attribute, selection.measure
    points = precision_by_threshold(sample.key, attribute.name, selection.value, sample.sample.reviewed)
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
    known = [
        (place, point.precision)
        for place, point in enumerate(points)
        if point.precision is not None and coverage.counts[place]
    ]
    x = [100 * coverage.share(place) for place, _ in known]
    figure = charts.new_figure(x="Coverage (%)", y=f"{measure} (%)", height=340)
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    band = {"fill": "tonexty", "fillcolor": BAND, "showlegend": True, "name": "95 % interval"}
    figure.add_scatter(x=x, y=[100 * estimate.low for _, estimate in known], **edge)
    figure.add_scatter(x=x, y=[100 * estimate.high for _, estimate in known], **edge | band)
    figure.add_scatter(
        x=x,
        y=[100 * estimate.value for _, estimate in known],
        mode="lines+markers",
        marker={"size": 4},
        line={"color": charts.COLOURS[0], "width": 2},
        name=measure,
        text=[f"confidence from {place} %" for place, _ in known],
        customdata=[[100 * estimate.low, 100 * estimate.high, estimate.reviewed] for _, estimate in known],
        hovertemplate="%{text}: %{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}) of %{x:.1f} % of crops, "
        "%{customdata[2]} tasks<extra></extra>",
    )
    for place, estimate in known:
        if place == percent:
            figure.add_scatter(
                x=[100 * coverage.share(place)],
                y=[100 * estimate.value],
                mode="markers",
                marker={"size": 15, "symbol": "diamond", "color": charts.COLOURS[1]},
                name=f"Confidence from {percent} %",
                hoverinfo="skip",
            )
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
    if sample.sample is None:
        return
    by = choose_one(
        "By",
        {part: part.capitalize() for part in (CAMERA, *get_args(Period))},
        "by",
        clear=("page", "crop"),
        widget=st.segmented_control,
        label_visibility="collapsed",
    )
    attribute, measure = selection.attribute, selection.measure
    period = None if by == CAMERA else cast("Period", by)
    parts = precision_by_part(
        sample.key, attribute.name, selection.value, selection.confidence, period, sample.sample.reviewed
    )
    if not parts:
        st.caption("The times of the annotated crops are unknown. Choose Camera.")
        return
    frame = split_table(parts, by.capitalize())
    few = int((frame["Tasks"] < MIN_TASKS).sum())
    if few < len(frame):
        figure = split_figure(frame, by.capitalize(), measure)
        charts.show_figure(figure, key=f"attributes-by-{by}", alt=f"{measure} by {by}")
    if few:
        st.caption(f"{few} of {len(frame)} are omitted: they have fewer than {MIN_TASKS} annotated tasks.")
    with st.expander("As a table", expanded=few == len(frame)):
        title = f"{measure} of {attribute.title} by {by}"
        show_table(context, frame, name=f"precision-{attribute.name}-by-{by}", title=title, max_rows=8)


def split_table(parts: Mapping[str, ShareEstimate | None], name: str) -> pd.DataFrame:
    """Return one row for each part; `name` is the column of the parts."""
    return percent_frame([{name: part, **estimate_columns("Precision", each)} for part, each in parts.items()])


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
