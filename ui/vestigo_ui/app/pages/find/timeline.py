"""Timeline of results: one lane for each camera, one mark for each result."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from vestigo.retrieval.search import Hit
from vestigo.store.audit.records import Verdict
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.result.verdict import MARKS
from vestigo_ui.app.pages.find.results import verdict_value
from vestigo_ui.app.text import format_moment

NO_VERDICT = "No verdict"
MARKERS = {"confirmed": ("square", "#009e73"), "rejected": ("x", "#d55e00"), "not sure": ("diamond", "#cc79a7")}
"""Symbol and colour of a verdict; results without one are circles in the colour of their distance."""
LANE, MARGIN = 26, 120
"""Height in pixels of a lane and of everything else."""


def show_timeline(hits: Sequence[Hit], verdicts: Mapping[str, Verdict]) -> None:
    """Show the results in time; a click on a mark opens its result."""
    timed = [hit for hit in hits if hit.time is not None]
    offset = [hit for hit in hits if hit.time is None and hit.offset_s is not None]
    for name, part, axis in (("time", timed, "Time (UTC)"), ("offset", offset, "Seconds into the video")):
        if part:
            alt = f"Timeline of {len(part)} results on {len({hit.camera for hit in part})} cameras"
            crop = charts.clicked_point(timeline_figure(part, verdicts, axis), key=f"find-timeline-{name}", alt=alt)
            if crop is not None:
                url_state.put(look=crop)
                st.rerun()
    unknown = len(hits) - len(timed) - len(offset)
    if unknown:
        st.caption(f"{unknown:,} of the results have no time and are not in the timeline.")


def timeline_figure(hits: Sequence[Hit], verdicts: Mapping[str, Verdict], axis: str) -> go.Figure:
    """Return the figure: time along the axis, cameras upwards with that of the nearest hit on top."""
    cameras = list(dict.fromkeys(hit.camera for hit in hits))
    figure = charts.new_figure(x=axis, y="Camera", height=MARGIN + LANE * max(2, len(cameras)))
    for verdict in (None, *MARKERS):
        part = [hit for hit in hits if verdict_value(hit.crop, verdicts) == verdict]
        if part:
            figure.add_scatter(**_trace(part, verdict))
    figure.update_layout(showlegend=len(figure.data) > 1)
    figure.update_yaxes(categoryorder="array", categoryarray=cameras[::-1], type="category")
    figure.update_layout(clickmode="event+select", dragmode="zoom", hovermode="closest")
    return figure


def _trace(hits: Sequence[Hit], verdict: str | None) -> dict[str, Any]:
    marker: dict[str, Any] = {"size": 11, "line": {"width": 1, "color": "rgba(128,128,128,0.9)"}}
    if verdict is None:
        marker |= {
            "symbol": "circle",
            "color": [hit.distance for hit in hits],
            "colorscale": charts.SCALE,
            "showscale": True,
            "colorbar": {"title": {"text": "Distance"}, "thickness": 10, "nticks": 3},
        }
    else:
        symbol, colour = MARKERS[verdict]
        marker |= {"symbol": symbol, "color": colour}
    return {
        "x": [hit.time if hit.time is not None else hit.offset_s for hit in hits],
        "y": [hit.camera for hit in hits],
        "mode": "markers",
        "name": NO_VERDICT if verdict is None else MARKS[verdict][0],
        "marker": marker,
        "customdata": [[hit.crop] for hit in hits],
        "text": [f"{hit.rank} · {hit.distance:.3f}<br>{format_moment(hit.time, hit.offset_s)}" for hit in hits],
        "hovertemplate": "%{text}<extra>%{y}</extra>",
    }
