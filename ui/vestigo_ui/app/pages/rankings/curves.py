"""Scores of rankings as figures: the CMC curve, and how well people of one camera are found on another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from vestigo.evaluation.metrics.truncated import CameraPairScores
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.scores import ScoredRanking
from vestigo_ui.app.text import escape_md

MEASURES = {"first": "Rank-1", "ap": "Mean AP"}
LABELLED = 14
"""Cameras up to which numbers fit into the cells."""
RANKS = (1, 2, 3, 5, 10, 20, 50, 100)


def show_curve(context: PageContext, shown: Sequence[ScoredRanking]) -> None:
    """Show the CMC curves, and their numbers."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        made = cmc_figure(shown)
        charts.show_figure(made, key="rankings-cmc", alt="Share of queries with a true match up to each rank")
    with right:
        depth = max(one.depth for one in shown)
        ranks = [rank for rank in RANKS if rank <= depth]
        frame = pd.DataFrame({"Rank": ranks})
        for one in shown:
            cmc = one.cmc(depth)
            frame[f"{one.ranking.name} (%)"] = [cmc[rank - 1] for rank in ranks]
        columns = {name: st.column_config.NumberColumn(format="%.1f") for name in frame.columns[1:]}
        show_table(context, frame, name="cmc", title="CMC", columns=columns)


def cmc_figure(shown: Sequence[ScoredRanking]) -> go.Figure:
    """The figure: share of scored queries whose first match stands at a rank or before."""
    made = charts.new_figure(x="Rank", y="Queries with a match up to there (%)", height=380, legend=len(shown) > 1)
    for place, one in enumerate(shown):
        cmc = one.cmc(max(1, one.depth))
        made.add_scatter(
            x=np.arange(1, len(cmc) + 1),
            y=cmc,
            name=one.ranking.name,
            mode="lines+markers" if len(cmc) <= 60 else "lines",
            line={"color": charts.COLOURS[place], "dash": charts.DASHES[place], "shape": "hv"},
            marker={"symbol": charts.SYMBOLS[place], "size": 6},
            hovertemplate="Rank %{x}: %{y:.1f} %<extra></extra>",
        )
    made.update_yaxes(range=[0, 102])
    return made


def measure_of() -> str:
    """Offer the measures of a pair of cameras."""
    return choose_one(
        "Measure",
        list(MEASURES),
        "measure",
        format_func=MEASURES.__getitem__,
        widget=st.segmented_control,
        width="content",
    )


def show_cameras(context: PageContext, shown: Sequence[ScoredRanking], *, measure: str) -> None:
    """Show the matrices of camera pairs, and their numbers."""
    frame = pair_table(shown)
    if frame.empty:
        st.info("No query with a true match on a known camera is scored.")
        return
    for one, column in zip(shown, st.columns(len(shown), gap="large"), strict=True):
        with column:
            if len(shown) > 1:
                st.markdown(f"**{escape_md(one.ranking.name)}**")
            made = pair_figure(one.judged.pairs, one.judged.cameras, measure)
            said = f"{MEASURES[measure]} by camera of the query and camera of the gallery, {one.ranking.name}"
            charts.show_figure(made, key=f"rankings-pairs-{one.ranking.name}", alt=said)
    st.caption("Each pair of cameras is ranked by itself: only the images of that gallery camera compete.")
    number = st.column_config.NumberColumn(format="%.1f")
    show_table(
        context,
        frame,
        name="camera-pairs",
        title="Camera pairs",
        columns={name: number for name in frame.columns if name.endswith("(%)")},
    )


def pair_figure(pairs: CameraPairScores, cameras: Sequence[str], measure: str) -> go.Figure:
    """The figure: one cell a pair of cameras, empty where no query has a true match."""
    seen = np.flatnonzero(pairs.queries.any(axis=0) | pairs.queries.any(axis=1)).tolist()
    order = sorted(seen, key=lambda camera: cameras[camera])
    names = [cameras[camera] for camera in order]
    value = mean(pairs, measure)[np.ix_(order, order)]
    queries = pairs.queries[np.ix_(order, order)]
    text = [
        ["" if not count else f"{share:.0f} %<br>{count:,}" for share, count in zip(*row, strict=True)]
        for row in zip(value, queries, strict=True)
    ]
    made = charts.new_figure(
        x="Gallery camera", y="Query camera", height=min(900, 150 + 56 * max(2, len(names))), legend=False
    )
    made.add_heatmap(
        z=value,
        x=names,
        y=names,
        customdata=queries,
        text=text,
        texttemplate="%{text}" if len(names) <= LABELLED else "",
        textfont={"size": 13, "weight": 600},
        colorscale=charts.SCALE,
        zmin=0,
        zmax=100,
        xgap=2,
        ygap=2,
        colorbar={"title": f"{MEASURES[measure]} (%)", "thickness": 12},
        hovertemplate="%{y} on %{x}: %{z:.1f} % of %{customdata:,} queries<extra></extra>",
        hoverongaps=False,
    )
    made.update_xaxes(type="category", showgrid=False)
    made.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return made


def mean(pairs: CameraPairScores, measure: str) -> NDArray[np.float64]:
    """(N, N) a measure in percent, NaN where no query has a true match."""
    total = pairs.ap if measure == "ap" else pairs.first
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * total / np.where(pairs.queries, pairs.queries, np.nan))


def pair_table(shown: Sequence[ScoredRanking]) -> pd.DataFrame:
    """Return pairs of cameras as a table: queries with a true match there, Rank-1 and mean AP of each ranking."""
    columns: dict[tuple[str, str], dict[str, float]] = {}
    for one in shown:
        prefix = f"{one.ranking.name}: " if len(shown) > 1 else ""
        pairs, cameras = one.judged.pairs, one.judged.cameras
        first, ap = mean(pairs, "first"), mean(pairs, "ap")
        for here, there in zip(*np.nonzero(pairs.queries), strict=True):
            columns.setdefault((cameras[here], cameras[there]), {}).update(
                {
                    f"{prefix}Queries": int(pairs.queries[here, there]),
                    f"{prefix}Rank-1 (%)": first[here, there],
                    f"{prefix}Mean AP (%)": ap[here, there],
                }
            )
    rows = [{"Query camera": here, "Gallery camera": there} | found for (here, there), found in sorted(columns.items())]
    frame = pd.DataFrame(rows)
    # What is compared stands side by side.
    ends = ("camera", "Rank-1 (%)", "Mean AP (%)", "Queries")
    return frame[[name for end in ends for name in frame.columns if name.endswith(end)]]
