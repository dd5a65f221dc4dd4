"""Figures of rankings: CMC curves, and scores by pair of cameras."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.evaluation.metrics.truncated import CameraPairScores
from vestigo_models.arrays import Float64Array
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.scores import OpenRanking
from vestigo_ui.app.text import escape_md

MEASURES = {"first": "Rank-1", "ap": "Mean AP"}
MAX_LABELLED = 14
"""Cameras up to which numbers fit into the cells."""
RANKS = (1, 2, 3, 5, 10, 20, 50, 100)


def show_curve(context: PageContext, shown: Sequence[OpenRanking]) -> None:
    """Show the CMC curves and their numbers."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        alt = "Share of queries with a true match up to each rank"
        charts.show_figure(cmc_figure(shown), key="rankings-cmc", alt=alt)
    with right:
        depth = max(opened.depth for opened in shown)
        ranks = [rank for rank in RANKS if rank <= depth]
        frame = pd.DataFrame({"Rank": ranks})
        for opened in shown:
            frame[f"{opened.ranking.name} (%)"] = opened.cmc(depth)[[rank - 1 for rank in ranks]]
        show_table(context, frame, name="cmc", title="CMC")


def cmc_figure(shown: Sequence[OpenRanking]) -> go.Figure:
    """Return the figure: share of scored queries whose first match is at a rank or before."""
    figure = charts.new_figure(x="Rank", y="Queries with a match up to there (%)", height=380, legend=len(shown) > 1)
    for place, opened in enumerate(shown):
        cmc = opened.cmc(max(1, opened.depth))
        figure.add_scatter(
            x=np.arange(1, len(cmc) + 1),
            y=cmc,
            name=opened.ranking.name,
            mode="lines+markers" if len(cmc) <= 60 else "lines",
            line={"color": charts.COLOURS[place], "dash": charts.DASHES[place], "shape": "hv"},
            marker={"symbol": charts.SYMBOLS[place], "size": 6},
            hovertemplate="Rank %{x}: %{y:.1f} %<extra></extra>",
        )
    figure.update_yaxes(range=[0, 102])
    return figure


def show_cameras(context: PageContext, shown: Sequence[OpenRanking], *, measure: str) -> None:
    """Show a measure (a key of `MEASURES`) by pair of cameras, as a figure and a table."""
    frame = pair_table(shown)
    if frame.empty:
        st.info("No query with a true match on a known camera is scored.")
        return
    for opened, column in zip(shown, st.columns(len(shown), gap="large"), strict=True):
        with column:
            name = opened.ranking.name
            if len(shown) > 1:
                st.markdown(f"**{escape_md(name)}**")
            figure = pair_figure(opened.scores.pairs, opened.scores.cameras, measure)
            alt = f"{MEASURES[measure]} by camera of the query and camera of the gallery, {name}"
            charts.show_figure(figure, key=f"rankings-pairs-{name}", alt=alt)
    st.caption("Each pair of cameras is ranked by itself: only crops of that gallery camera are compared.")
    show_table(context, frame, name="camera-pairs", title="Camera pairs")


def pair_figure(pairs: CameraPairScores, cameras: Sequence[str], measure: str) -> go.Figure:
    """Return the figure: one cell for each pair of cameras, empty if no query has a true match."""
    present = np.flatnonzero(pairs.queries.any(axis=0) | pairs.queries.any(axis=1)).tolist()
    order = sorted(present, key=lambda camera: cameras[camera])
    names = [cameras[camera] for camera in order]
    value = mean_scores(pairs, measure)[np.ix_(order, order)]
    queries = pairs.queries[np.ix_(order, order)]
    text = [
        ["" if not count else f"{share:.0f} %<br>{count:,}" for share, count in zip(*row, strict=True)]
        for row in zip(value, queries, strict=True)
    ]
    height = min(900, 150 + 56 * max(2, len(names)))
    figure = charts.new_figure(x="Gallery camera", y="Query camera", height=height, legend=False)
    figure.add_heatmap(
        z=value,
        x=names,
        y=names,
        customdata=queries,
        text=text,
        texttemplate="%{text}" if len(names) <= MAX_LABELLED else "",
        textfont={"size": 13, "weight": 600},
        colorbar={"title": f"{MEASURES[measure]} (%)", "thickness": 12},
        hovertemplate="%{y} on %{x}: %{z:.1f} % of %{customdata:,} queries<extra></extra>",
        hoverongaps=False,
        **charts.MATRIX,
    )
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def mean_scores(pairs: CameraPairScores, measure: str) -> Float64Array:
    """Return (N, N) a measure in percent; NaN if no query has a true match."""
    total = pairs.ap if measure == "ap" else pairs.first
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * total / np.where(pairs.queries, pairs.queries, np.nan))


def pair_table(shown: Sequence[OpenRanking]) -> pd.DataFrame:
    """Return one row for each pair of cameras: scored queries, Rank-1 and mean AP of each ranking."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for opened in shown:
        prefix = f"{opened.ranking.name}: " if len(shown) > 1 else ""
        pairs, cameras = opened.scores.pairs, opened.scores.cameras
        first, ap = mean_scores(pairs, "first"), mean_scores(pairs, "ap")
        for query, gallery in zip(*np.nonzero(pairs.queries), strict=True):
            rows.setdefault((cameras[query], cameras[gallery]), {}).update(
                {
                    f"{prefix}Queries": int(pairs.queries[query, gallery]),
                    f"{prefix}Rank-1 (%)": first[query, gallery],
                    f"{prefix}Mean AP (%)": ap[query, gallery],
                }
            )
    names = ("Query camera", "Gallery camera")
    frame = pd.DataFrame([dict(zip(names, key, strict=True)) | row for key, row in sorted(rows.items())])
    # The same measure of both rankings is side by side.
    ends = ("camera", "Rank-1 (%)", "Mean AP (%)", "Queries")
    return frame[[column for end in ends for column in frame.columns if column.endswith(end)]]
