"""Figures with one look: colours for colour-blind readers, readable on light and dark pages."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import ArrayLike

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
"""Colours of Okabe and Ito without yellow and black, which are invisible on one of the two themes."""
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
SCALE = "Cividis"
"""Colour scale of matrices, with even steps of brightness."""
_TEXTS = ("x", "y", "name", "text", "hovertext")
MATRIX: dict[str, Any] = {"zmin": 0, "zmax": 100, "colorscale": SCALE, "xgap": 2, "ygap": 2}
"""Look of a matrix of values in percent."""


def new_figure(*, x: str = "", y: str = "", height: int = 320, legend: bool = True) -> go.Figure:
    """Return an empty figure with the axis titles `x` and `y`, `height` pixels high."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        colorway=list(COLOURS),
        hoverlabel={"namelength": -1},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={"title": x, "automargin": True, "zeroline": False},
        yaxis={"title": y, "automargin": True, "zeroline": False},
    )
    return figure


def error_bars(low: ArrayLike, value: ArrayLike, high: ArrayLike) -> dict[str, Any]:
    """Return Plotly's error bars of intervals."""
    above, below = np.subtract(high, value), np.subtract(value, low)
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}


def show_figure(figure: go.Figure, *, key: str, alt: str, modes: Sequence[str] = ()) -> Any:
    """Show a figure; with selection `modes` (points, box), return the selection and rerun when it changes.

    Names on axes, in legends and texts are shown as they are, though Plotly reads a part of HTML in them; `<br>` in a
    text ends a line.
    """
    figure = go.Figure(figure)
    for trace in figure.data:
        trace.update({field: _escape(trace[field]) for field in _TEXTS if field in trace})
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.categoryarray = _escape(axis.categoryarray)
    selection: dict[str, Any] = {"on_select": "rerun", "selection_mode": tuple(modes)} if modes else {}
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"], "responsive": True}
    return st.plotly_chart(figure, key=key, alt=alt, config=config, **selection)


def _escape(value: Any) -> Any:
    """Return text, or an array of it, with Plotly's markup escaped; other values as they are."""
    if isinstance(value, str):
        return escape(value, quote=False).replace("&lt;br&gt;", "<br>")
    is_text = value is not None and any(isinstance(item, str) or np.ndim(item) for item in value)
    return [_escape(item) for item in value] if is_text else value


def clicked_point(figure: go.Figure, *, key: str, alt: str) -> str | None:
    """Show a figure and return the first custom value of a newly clicked point.

    Plotly keeps a point selected after the click; None is returned until another point is clicked.
    """
    points = show_figure(figure, key=key, alt=alt, modes=["points"]).selection.points
    clicked = points[0]["customdata"][0] if points else None
    if clicked == st.session_state.get(f"{key}-clicked"):
        return None
    st.session_state[f"{key}-clicked"] = clicked
    return clicked
