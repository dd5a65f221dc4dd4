"""Plots that look alike: colours that colour-blind readers can tell apart, readable on a light and a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
"""Okabe and Ito's, without the yellow and the black that one of the two themes would swallow."""
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
SCALE = "Cividis"
"""For matrices: even steps of brightness, whatever one sees of colour."""


def figure(*, x: str = "", y: str = "", height: int = 320, legend: bool = True) -> go.Figure:
    """Return an empty figure with labelled axes."""
    made = go.Figure()
    made.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        colorway=list(COLOURS),
        hoverlabel={"namelength": -1},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={"title": x, "automargin": True, "zeroline": False},
        yaxis={"title": y, "automargin": True, "zeroline": False},
    )
    return made


def chart(made: go.Figure, *, key: str, alt: str, modes: Sequence[str] = (), **options: Any) -> Any:
    """Show a figure; with `modes` of selection (points, box) return what is selected, and run again when it changes."""
    selection: dict[str, Any] = {"on_select": "rerun", "selection_mode": tuple(modes)} if modes else {}
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"], "responsive": True}
    return st.plotly_chart(made, key=key, alt=alt, config=config | options, **selection)
