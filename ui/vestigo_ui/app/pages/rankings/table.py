"""All queries of a ranking in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st
from numpy.typing import NDArray

from vestigo.evaluation.metrics.ranking import SCORED
from vestigo.evaluation.metrics.truncated import TRUNCATED_REASONS, UNKNOWN_CAMERA, UNKNOWN_PID
from vestigo_ui.app import url_state
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.scores import RankingPair, ScoredRanking, ordered
from vestigo_ui.app.pages.rankings.selection import View

AP, GAINED = "AP (%)", "AP gained (%)"
MOST = 5000
"""Rows that are sent to a browser."""


def show_score_table(
    context: PageContext,
    view: View,
    one: ScoredRanking,
    other: ScoredRanking | None,
    both: RankingPair | None,
    *,
    order: str,
) -> None:
    """Show the queries in numbers; a selected one opens."""
    queries = ordered(one, both, order)
    if not len(queries):
        st.info("The two rankings have no query in common.")
        return
    if len(queries) > MOST:
        st.caption(f"The first {MOST:,} of {len(queries):,} queries in this order.")
    frame = query_table(one, other, both, queries[:MOST])
    names = frame["Query"].tolist()
    context.audit_once("view", what="ranking in numbers", ranking=view.ranking.name, queries=len(names), order=order)
    number = st.column_config.NumberColumn(format="%.1f")
    event = show_table(
        context,
        frame,
        name=f"queries-{view.ranking.name}",
        title=f"Queries of {view.ranking.name}",
        columns={name: number for name in frame.columns if name.endswith("(%)")},
        on_select="rerun",
        selection_mode="single-row",
        height=640,
    )
    if rows := event.selection.rows:
        url_state.put(query=names[rows[0]], page=None)
        st.rerun()


def query_table(
    one: ScoredRanking, other: ScoredRanking | None, both: RankingPair | None, numbers: NDArray[np.int64]
) -> pd.DataFrame:
    """Return some queries (numbers in `one`, with `both` of those that two rankings share) with their scores."""
    judged = one.judged
    pids, camids = judged.pids[numbers], judged.camids[numbers]
    cameras = np.array([*judged.cameras, None], object)
    frame = pd.DataFrame(
        {
            "Query": judged.names.take(pa.array(numbers)).to_pylist(),
            "Person": pd.array(np.where(pids == UNKNOWN_PID, 0, pids), "Int64"),
            "Camera": cameras[np.where(camids == UNKNOWN_CAMERA, len(judged.cameras), camids)],
            **_scores(one, numbers, ""),
        }
    )
    frame.loc[pids == UNKNOWN_PID, "Person"] = pd.NA
    if other is not None and both is not None:
        place = np.full(len(judged), -1)
        place[both.first] = np.arange(len(both.first))
        rows = place[numbers]
        frame = frame.assign(**_scores(other, both.second[rows], f"{other.ranking.name}: "))
        frame[GAINED] = 100 * both.gain[rows]
        # What is compared stands side by side.
        first = [*frame.columns[:4], f"{other.ranking.name}: {AP}", GAINED]
        frame = frame[[*first, *(name for name in frame.columns if name not in first)]]
    return frame


def _scores(one: ScoredRanking, numbers: NDArray[np.int64], prefix: str) -> dict[str, Any]:
    found = one.judged.scores
    status = found.status[numbers]
    scored = status == SCORED
    first = pd.array(found.first[numbers], "Int64")
    first[found.first[numbers] == 0] = pd.NA
    columns: dict[str, Any] = {
        f"{prefix}{AP}": 100 * found.ap[numbers],
        f"{prefix}First match": first,
        f"{prefix}Found": pd.array(np.where(scored, found.retrieved[numbers], 0), "Int64"),
        f"{prefix}True matches": pd.array(np.where(scored, found.matches[numbers], 0), "Int64"),
    }
    if not scored.all():
        columns[f"{prefix}Not scored"] = [TRUNCATED_REASONS.get(int(code), "") for code in status]
    return columns
