"""Table of all queries of a ranking."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from vestigo.evaluation.metrics.ranking import SCORED
from vestigo.evaluation.metrics.truncated import TRUNCATED_REASONS, UNKNOWN_CAMERA, UNKNOWN_PID
from vestigo_models.arrays import Int64Array
from vestigo_ui.app import url_state
from vestigo_ui.app.components.tables import choose_row
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.scores import OpenRanking, RankingPair, sort_queries

AP, GAIN = "AP (%)", "AP gained (%)"
MAX_ROWS = 5000


def show_query_table(context: PageContext, opened: OpenRanking, pair: RankingPair | None, *, order: str) -> None:
    """Show the queries with their scores; a selected one opens."""
    queries = sort_queries(opened, pair, order)
    if not len(queries):
        st.info("The rankings share no query.")
        return
    if len(queries) > MAX_ROWS:
        st.caption(f"The first {MAX_ROWS:,} of {len(queries):,} queries in this order.")
    frame = query_table(opened, pair, queries[:MAX_ROWS])
    ranking = opened.ranking.name
    context.audit_once("view", what="ranking in numbers", ranking=ranking, queries=len(frame), order=order)
    row = choose_row(context, frame, name=f"queries-{ranking}", title=f"Queries of {ranking}", height=640)
    if row is not None:
        url_state.put(query=frame["Query"][row], page=None)
        st.rerun()


def query_table(opened: OpenRanking, pair: RankingPair | None, numbers: Int64Array) -> pd.DataFrame:
    """Return one row for each query, with scores of both rankings of a pair next to each other."""
    scores = opened.scores
    pids, camids = scores.pids[numbers], scores.camids[numbers]
    cameras = np.array([*scores.cameras, None], object)
    frame = pd.DataFrame(
        {
            "Query": scores.names.take(pa.array(numbers)).to_pylist(),
            "Identity": pd.array(np.where(pids == UNKNOWN_PID, 0, pids), "Int64"),
            "Camera": cameras[np.where(camids == UNKNOWN_CAMERA, len(scores.cameras), camids)],
            **_score_columns(opened, numbers, ""),
        }
    )
    frame.loc[pids == UNKNOWN_PID, "Identity"] = pd.NA
    if pair is None:
        return frame
    place = np.full(len(scores), -1)
    place[pair.first_queries] = np.arange(len(pair.first_queries))
    rows, name = place[numbers], pair.second.ranking.name
    frame = frame.assign(**_score_columns(pair.second, pair.second_queries[rows], f"{name}: "))
    frame[GAIN] = 100 * pair.gain[rows]
    first = [*frame.columns[:4], f"{name}: {AP}", GAIN]
    return frame[[*first, *(column for column in frame.columns if column not in first)]]


def _score_columns(opened: OpenRanking, numbers: Int64Array, prefix: str) -> dict[str, Any]:
    scores = opened.scores.scores
    status = scores.status[numbers]
    scored = status == SCORED
    first = pd.array(scores.first[numbers], "Int64")
    first[scores.first[numbers] == 0] = pd.NA
    columns: dict[str, Any] = {
        f"{prefix}{AP}": 100 * scores.ap[numbers],
        f"{prefix}First match": first,
        f"{prefix}Retrieved": pd.array(np.where(scored, scores.retrieved[numbers], 0), "Int64"),
        f"{prefix}True matches": pd.array(np.where(scored, scores.matches[numbers], 0), "Int64"),
    }
    if not scored.all():
        columns[f"{prefix}Not scored"] = [TRUNCATED_REASONS.get(int(code), "") for code in status]
    return columns
