"""Scores of a model and of the model that it was compared with, measure by measure."""

from dataclasses import asdict
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
from vestigo_ui.app.pages.models.registry import RegistryView
from vestigo_ui.app.text import attribute_titles, escape_md

BEFORE, AFTER, DIFFERENCE = "Before (%)", "After (%)", "Difference"
INTERVAL = ("95 % from", "95 % to")
COLUMNS = {"a": BEFORE, "b": AFTER, "difference": DIFFERENCE, "low": INTERVAL[0], "high": INTERVAL[1]}
COLUMNS |= {"identities": "People"}
"""Columns of the table by keys of `compare_scores`."""
MEANS = {
    "rank1": "Rank-1",
    "attributes_mean": "Attributes, mean",
    "attributes_balanced": "Attributes, balanced",
    "attributes_labelled_only_mean": "Attributes, labelled only, mean",
}
"""Scores that are shown in addition to the measures of the gate."""
ROW, MARGIN = 26, 90


def compared_model(registry: RegistryView, model: Model) -> Model | None:
    """Return the model for comparison: that of the gate, else the parent, else the serving model."""
    against = model.scores.get(GATE, {}).get("against")
    for digest in (against, model.parent, registry.serving):
        if digest is not None and digest in registry.models and digest != model.digest:
            return registry.models[digest]
    return None


def measure_titles(model: Model) -> dict[str, str]:
    """Return the titles of a model's attributes by name."""
    return {} if model.facts.attributes is None else attribute_titles(model.facts.attributes)


def comparison_frame(model: Model, partner: Model | None, test: str) -> pd.DataFrame:
    """Return the scores of both models on a test; missing scores are None."""
    after = model.scores.get(test, {})
    before = {} if partner is None else partner.scores.get(test, {})
    differences: Differences = stored_differences(model.scores)
    if not matches_scores(differences, before, after):
        differences = {}
    titles = measure_titles(model)
    rows: list[dict[str, Any]] = [
        {"Measure": titles.get(name, name)} | scores
        for name, scores in compare_scores(before, after, differences).items()
    ]
    means = [
        {"Measure": title, "a": before.get(name), "b": after.get(name)}
        for name, title in MEANS.items()
        if before.get(name) is not None or after.get(name) is not None
    ]
    # mAP is the first of the measures.
    return _measure_frame(rows[:1] + means + rows[1:])


def gate_frame(model: Model) -> pd.DataFrame:
    """Return the differences that the gate compared, for models without recorded scores."""
    titles = measure_titles(model)
    rows = [
        {"Measure": titles.get(name, name)} | ({} if difference is None else asdict(difference))
        for name, difference in stored_differences(model.scores).items()
    ]
    return _measure_frame(rows).drop(columns=[BEFORE, AFTER])


def interval_figure(frame: pd.DataFrame) -> go.Figure:
    """Return the figure: difference of each measure in percentage points, with its interval."""
    known = frame[frame[INTERVAL[0]].notna()]
    figure = charts.new_figure(
        x="Better by (percentage points), 95 % interval", height=MARGIN + ROW * len(known), legend=False
    )
    figure.add_vline(x=0, line={"width": 1, "dash": "dot", "color": charts.COLOURS[-1]})
    figure.add_scatter(
        x=known[DIFFERENCE],
        y=known["Measure"],
        error_x=charts.error_bars(known[INTERVAL[0]], known[DIFFERENCE], known[INTERVAL[1]]),
        customdata=known[list(INTERVAL)].to_numpy(),
        hovertemplate="%{y}: %{x:+.1f} (%{customdata[0]:+.1f} to %{customdata[1]:+.1f})<extra></extra>",
        mode="markers",
        marker={"size": 9},
    )
    figure.update_yaxes(type="category", autorange="reversed")
    return figure


def show_scores(context: PageContext, registry: RegistryView, model: Model) -> None:
    """Show the scores of a model on every test, compared with `compared_model`."""
    partner = compared_model(registry, model)
    tests = split_names(model.scores)
    st.subheader("Scores", anchor=False)
    if not tests and GATE not in model.scores:
        st.info(
            "This model is not evaluated yet. `vestigo models compare A B --data DATASET --store STORE` evaluates two "
            "models and records their scores."
        )
        return
    charted = pd.DataFrame()
    for place, test in enumerate(tests):
        frame = comparison_frame(model, partner, test)
        shared = partner is not None and test in partner.scores
        baseline = f"; before is {escape_md(registry.name(partner.digest))}" if partner is not None and shared else ""
        st.caption(f"Evaluated on {escape_md(test)}{baseline}")
        _table(context, frame, f"scores-{place}")
        if frame[INTERVAL[0]].notna().any():
            charted = frame
    if charted.empty and stored_differences(model.scores):
        charted = gate_frame(model)
        st.caption("Differences that the gate compared; the scores themselves are not recorded")
        _table(context, charted, "scores-gate")
    if not charted.empty and charted[INTERVAL[0]].notna().any():
        charts.show_figure(
            interval_figure(charted), key="models-intervals", alt="Differences of all measures with intervals"
        )


def _table(context: PageContext, frame: pd.DataFrame, name: str) -> None:
    columns = dict.fromkeys((DIFFERENCE, *INTERVAL), st.column_config.NumberColumn(format="%+.1f"))
    show_table(context, frame, name=name, title="Scores before and after", columns=columns, max_rows=17)


def _measure_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows with the keys of `compare_scores` as a table; missing differences of two scores are computed."""
    frame = pd.DataFrame(rows, columns=["Measure", *COLUMNS]).rename(columns=COLUMNS)
    frame = frame.astype(dict.fromkeys((BEFORE, AFTER, DIFFERENCE, *INTERVAL), "float64") | {"People": "Int64"})
    frame[DIFFERENCE] = frame[DIFFERENCE].fillna(frame[AFTER] - frame[BEFORE])
    return frame
