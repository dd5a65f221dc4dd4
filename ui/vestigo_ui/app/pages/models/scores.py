"""How a model was judged beside the one it was to follow: before and after, measure by measure."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.promotion.gate import GATE, Differences
from vestigo.promotion.judge import compare_scores, matches_scores, split_names, stored_differences
from vestigo.store.models.records import Model
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.models.registry import Registry
from vestigo_ui.app.text import escape_md

BEFORE, AFTER, DIFFERENCE = "Before (%)", "After (%)", "Difference"
INTERVAL = ("95 % from", "95 % to")
MEANS = {
    "rank1": "Rank-1",
    "attributes_mean": "Attributes, mean",
    "attributes_balanced": "Attributes, balanced",
    "attributes_labelled_only_mean": "Attributes, labelled only, mean",
}
"""Scores that are shown beside the measures that the gate decides on."""
ROW, MARGIN = 26, 90


def partner_of(found: Registry, model: Model) -> Model | None:
    """Return what a model is compared with: what it was judged against, else its parent, else what serves."""
    against = model.scores.get(GATE, {}).get("against")
    for digest in (against, model.parent, found.serving):
        if digest is not None and digest in found.models and digest != model.digest:
            return found.models[digest]
    return None


def titles_of(model: Model) -> dict[str, str]:
    """Return how measures are called before people."""
    schema = model.facts.attributes
    return {} if schema is None else {one.name: one.title.capitalize() for one in schema.attributes}


def compared(model: Model, partner: Model | None, test: str) -> pd.DataFrame:
    """Lay the scores of a test beside each other; None where nothing is kept."""
    after = model.scores.get(test, {})
    before = {} if partner is None else partner.scores.get(test, {})
    differences: Differences = stored_differences(model.scores)
    if not matches_scores(differences, before, after):
        differences = {}
    titles = titles_of(model)
    rows: list[dict[str, Any]] = [
        _row(titles.get(name, name), one["a"], one["b"], one["difference"], one["low"], one["high"], one["identities"])
        for name, one in compare_scores(before, after, differences).items()
    ]
    means = [
        _row(title, before.get(name), after.get(name))
        for name, title in MEANS.items()
        if before.get(name) is not None or after.get(name) is not None
    ]
    # mAP is the first of the measures.
    return _typed(pd.DataFrame(rows[:1] + means + rows[1:]))


def gate_rows(model: Model) -> pd.DataFrame:
    """What the gate decided on, where the scores of its test are not kept."""
    titles = titles_of(model)
    rows = [
        _row(titles.get(name, name), None, None)
        if one is None
        else _row(titles.get(name, name), None, None, one.difference, one.low, one.high, one.identities)
        for name, one in stored_differences(model.scores).items()
    ]
    return _typed(pd.DataFrame(rows)).drop(columns=[BEFORE, AFTER])


def intervals(frame: pd.DataFrame) -> go.Figure:
    """The figure: by how many points each measure became better, with its interval."""
    known = frame[frame[INTERVAL[0]].notna()]
    made = charts.new_figure(
        x="Better by (percentage points), 95 % interval", height=MARGIN + ROW * len(known), legend=False
    )
    made.add_vline(x=0, line={"width": 1, "dash": "dot", "color": charts.COLOURS[-1]})
    made.add_scatter(
        x=known[DIFFERENCE],
        y=known["Measure"],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": known[INTERVAL[1]] - known[DIFFERENCE],
            "arrayminus": known[DIFFERENCE] - known[INTERVAL[0]],
        },
        customdata=known[list(INTERVAL)].to_numpy(),
        hovertemplate="%{y}: %{x:+.1f} (%{customdata[0]:+.1f} to %{customdata[1]:+.1f})<extra></extra>",
        mode="markers",
        marker={"size": 9},
    )
    made.update_yaxes(type="category", autorange="reversed")
    return made


def show_scores(context: PageContext, found: Registry, model: Model) -> None:
    """Show every test of a model, beside what it was to follow."""
    partner = partner_of(found, model)
    tests = split_names(model.scores)
    st.subheader("Scores", anchor=False)
    if not tests and GATE not in model.scores:
        st.info(
            "This model was not judged yet: `vestigo models compare A B --data DATASET --store STORE` judges two "
            "models and keeps their scores."
        )
        return
    drawn = pd.DataFrame()
    for place, test in enumerate(tests):
        frame = compared(model, partner, test)
        shared = partner is not None and test in partner.scores
        beside = f"; before is {escape_md(found.name(partner.digest))}" if partner is not None and shared else ""
        st.caption(f"Judged on {escape_md(test)}{beside}")
        _table(context, frame, f"scores-{place}")
        if frame[INTERVAL[0]].notna().any():
            drawn = frame
    if drawn.empty and stored_differences(model.scores):
        drawn = gate_rows(model)
        st.caption("What the gate decided on; the scores themselves are not kept")
        _table(context, drawn, "scores-gate")
    if not drawn.empty and drawn[INTERVAL[0]].notna().any():
        charts.show_figure(intervals(drawn), key="models-intervals", alt="Differences of all measures with intervals")


def _table(context: PageContext, frame: pd.DataFrame, name: str) -> None:
    number = st.column_config.NumberColumn
    signed = dict.fromkeys((DIFFERENCE, *INTERVAL), number(format="%+.1f"))
    show_table(
        context,
        frame,
        name=name,
        title="Scores before and after",
        columns=dict.fromkeys((BEFORE, AFTER), number(format="%.1f")) | signed,
        height=min(len(frame) + 1, 18) * 35 + 3,
    )


def _row(
    title: str,
    before: float | None,
    after: float | None,
    difference: float | None = None,
    low: float | None = None,
    high: float | None = None,
    identities: int | None = None,
) -> dict[str, Any]:
    if difference is None and before is not None and after is not None:
        difference = after - before
    return {
        "Measure": title,
        BEFORE: before,
        AFTER: after,
        DIFFERENCE: difference,
        INTERVAL[0]: low,
        INTERVAL[1]: high,
        "People": identities,
    }


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = dict.fromkeys((BEFORE, AFTER, DIFFERENCE, *INTERVAL), "float64")
    return frame.astype(numbers | {"People": "Int64"})
