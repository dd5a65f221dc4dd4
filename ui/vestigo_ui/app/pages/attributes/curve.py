"""Precision against coverage: what is gained, and what is given up, by believing only predictions that are sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from vestigo.review.estimates.threshold_curve import CurvePoint
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.reviews import Reviews, curve
from vestigo_ui.app.pages.attributes.selection import View, indexed, start_again

KEY = "attributes-sure"
BAND = "rgba(0, 114, 178, 0.18)"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of all crops, by threshold in hundredths: `sure` (101,) are at least so sure; `crops` are all that are meant."""

    sure: NDArray[np.int64]
    crops: int

    def share(self, level: int) -> float:
        """The share that is at least `level` hundredths sure, 0 without crops."""
        return int(self.sure[level]) / self.crops if self.crops else 0.0


def coverage(context: PageContext, view: View) -> Coverage:
    """How sure the model is of all crops of the archive, or of those that it takes for the value."""
    table = _sureness(view.model.digest, indexed(context), view.cameras, context)[view.attribute.name]
    counts = table[view.attribute.values.index(view.value)] if view.value else table.sum(axis=0)
    return Coverage(sure=counts[::-1].cumsum()[::-1], crops=int(counts.sum()))


def slider(covered: Coverage, view: View) -> None:
    """Offer the threshold of the whole page; the address has it as a fraction, `?sure=0.8`."""
    st.session_state[KEY] = round(100 * view.sure)

    def changed() -> None:
        level = int(st.session_state[KEY])
        start_again(sure=level / 100 if level else None)

    st.slider("Believe predictions that are at least so sure", 0, 100, key=KEY, format="%d %%", on_change=changed)
    level = round(100 * view.sure)
    which = f"crops taken for {view.value}" if view.value else "crops"
    if level:
        enough = f"{int(covered.sure[level]):,} of {covered.crops:,} {which} are at least {level} % sure"
        st.caption(f"{covered.share(level):.1%} are covered: {enough}.")
    else:
        st.caption(f"All {covered.crops:,} {which} are covered.")


def show_curve(context: PageContext, view: View, known: Reviews, covered: Coverage) -> None:
    """Show the curve of the attribute or its value, the slider's point on it, and the same as a table."""
    if known.sample is None:
        return
    points = curve(known.key, view.attribute.name, view.value, known.sample.reviewed)
    here = points[round(100 * view.sure)].precision
    what = f"Precision of {view.value}" if view.value else "Accuracy"
    if here is None:
        st.caption("Nothing that was reviewed here is as sure. Choose a lower threshold, or review more.")
    else:
        st.caption(
            f"**{what}: {here.value:.1%}** ({here.low:.1%} to {here.high:.1%} at 95 %), from {here.reviewed:,} tasks."
        )
    if any(point.precision is not None for point in points):
        made = precision_curve(points, covered, round(100 * view.sure), what)
        charts.show_figure(made, key="attributes-curve", alt=f"{what} against the share of crops that are sure enough")
        with st.expander("As a table"):
            number = st.column_config.NumberColumn
            frame = curve_table(points, covered)
            show_table(
                context,
                frame,
                name=f"precision-{view.attribute.name}",
                title=f"{what} of {view.attribute.title} by threshold",
                columns={name: number(format="%.1f") for name in frame.columns if name.endswith("(%)")},
                height=280,
            )


def precision_curve(points: Sequence[CurvePoint], covered: Coverage, level: int, what: str) -> go.Figure:
    """The figure: coverage along, precision upwards with its interval, and the point of `level` hundredths."""
    known = [
        (place, point.precision)
        for place, point in enumerate(points)
        if point.precision is not None and covered.sure[place]
    ]
    x = [100 * covered.share(place) for place, _ in known]
    text = [f"at least {place} % sure" for place, _ in known]
    made = charts.new_figure(x="Share of crops that are sure enough (%)", y=f"{what} (%)", height=340)
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    made.add_scatter(x=x, y=[100 * one.low for _, one in known], **edge)
    made.add_scatter(
        x=x,
        y=[100 * one.high for _, one in known],
        **edge | {"fill": "tonexty", "fillcolor": BAND, "showlegend": True, "name": "95 % interval"},
    )
    made.add_scatter(
        x=x,
        y=[100 * one.value for _, one in known],
        mode="lines+markers",
        marker={"size": 4},
        line={"color": charts.COLOURS[0], "width": 2},
        name=what,
        text=text,
        customdata=[[100 * one.low, 100 * one.high, one.reviewed] for _, one in known],
        hovertemplate="%{text}: %{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}) of %{x:.1f} % of crops, "
        "%{customdata[2]} tasks<extra></extra>",
    )
    for place, one in known:
        if place == level:
            made.add_scatter(
                x=[100 * covered.share(place)],
                y=[100 * one.value],
                mode="markers",
                marker={"size": 15, "symbol": "diamond", "color": charts.COLOURS[1]},
                name=f"At least {level} % sure",
                hoverinfo="skip",
            )
    return made


def curve_table(points: Sequence[CurvePoint], covered: Coverage) -> pd.DataFrame:
    """The curve as a table, a row for each threshold."""
    rows = []
    for place, point in enumerate(points):
        one = point.precision
        rows.append(
            {
                "At least (%)": 100 * point.confidence,
                "Crops": int(covered.sure[place]),
                "Coverage (%)": 100 * covered.share(place),
                "Precision (%)": None if one is None else 100 * one.value,
                "From (%)": None if one is None else 100 * one.low,
                "To (%)": None if one is None else 100 * one.high,
                "Tasks": 0 if one is None else one.reviewed,
            }
        )
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys((name for name in frame.columns if name.endswith("(%)")), "float64"))


@st.cache_data(max_entries=16, show_spinner=False)
def _sureness(
    model: str, state: tuple[str, int], cameras: tuple[str, ...] | None, _context: PageContext
) -> dict[str, NDArray[np.int64]]:
    return _context.index.confidence_histograms(model, cameras)
