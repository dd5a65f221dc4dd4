"""When and where the results were seen: a lane a camera, a mark a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from vestigo.retrieval.search import Hit
from vestigo.store.audit.records import Verdict
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.pages.find.results import MARKS, verdict_of
from vestigo_ui.app.text import format_moment

UNDECIDED = "Undecided"
LOOKS = {"confirmed": ("square", "#009e73"), "rejected": ("x", "#d55e00"), "not sure": ("diamond", "#cc79a7")}
"""Symbol and colour of a verdict; without one, a circle in the colour of its distance."""
LANE, MARGIN = 26, 120
"""Pixels of height."""
CLICKED = "find-timeline-clicked"


def timeline(hits: Sequence[Hit], verdicts: Mapping[str, Verdict]) -> None:
    """Show the hits in time; a click on a mark opens its result (`?look=`)."""
    timed = [hit for hit in hits if hit.time is not None]
    offset = [hit for hit in hits if hit.time is None and hit.offset_s is not None]
    for name, some, axis in (("time", timed, "Time (UTC)"), ("offset", offset, "Seconds into the video")):
        if some:
            _lanes(some, verdicts, key=f"find-timeline-{name}", axis=axis)
    unknown = len(hits) - len(timed) - len(offset)
    if unknown:
        st.caption(f"{unknown:,} of the results have no time and are not in the timeline.")


def lanes(hits: Sequence[Hit], verdicts: Mapping[str, Verdict], axis: str) -> go.Figure:
    """Return the figure: cameras upwards, the one of the nearest hit on top; time along."""
    cameras = list(dict.fromkeys(hit.camera for hit in hits))
    made = charts.new_figure(x=axis, y="Camera", height=MARGIN + LANE * max(2, len(cameras)))
    for verdict in (None, *LOOKS):
        some = [hit for hit in hits if verdict_of(hit.crop, verdicts) == verdict]
        if some:
            made.add_scatter(**_trace(some, verdict))
    made.update_layout(showlegend=len(made.data) > 1)
    made.update_yaxes(categoryorder="array", categoryarray=cameras[::-1], type="category")
    made.update_layout(clickmode="event+select", dragmode="zoom", hovermode="closest")
    return made


def _lanes(hits: Sequence[Hit], verdicts: Mapping[str, Verdict], *, key: str, axis: str) -> None:
    cameras = len({hit.camera for hit in hits})
    alt = f"Timeline of {len(hits)} results on {cameras} cameras"
    points = charts.show_figure(lanes(hits, verdicts, axis), key=key, alt=alt, modes=["points"]).selection.points
    clicked = points[0]["customdata"][0] if points else None
    # The selection stays until another point is clicked, while what it opened may be closed again.
    if clicked != st.session_state.get(f"{CLICKED}-{key}"):
        st.session_state[f"{CLICKED}-{key}"] = clicked
        if clicked is not None:
            url_state.put(look=clicked)
            st.rerun()


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
        symbol, colour = LOOKS[verdict]
        marker |= {"symbol": symbol, "color": colour}
    return {
        "x": [hit.time if hit.time is not None else hit.offset_s for hit in hits],
        "y": [hit.camera for hit in hits],
        "mode": "markers",
        "name": UNDECIDED if verdict is None else MARKS[verdict][0],
        "marker": marker,
        "customdata": [[hit.crop] for hit in hits],
        "text": [f"{hit.rank} · {hit.distance:.3f}<br>{format_moment(hit.time, hit.offset_s)}" for hit in hits],
        "hovertemplate": "%{text}<extra>%{y}</extra>",
    }
