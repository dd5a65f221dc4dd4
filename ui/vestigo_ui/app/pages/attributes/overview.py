"""All attributes at once: how right a model is about each in the archive, and on the datasets that it was judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.precision import AttributePrecision
from vestigo.store.models.records import Model
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.reviews import Reviews, precisions
from vestigo_ui.app.pages.attributes.selection import View

ROW, LEGEND, MARGIN = 26, 20, 60
"""Pixels of height of the plot: an attribute's, a line's of the legend, and what surrounds them."""
REVIEWED, OFFICIAL, LABELLED = "Reviewed, 95 %", "official", "labelled only"


@dataclass(frozen=True, kw_only=True)
class DatasetAccuracy:
    """Accuracies on a dataset that the registry keeps, percent by attribute; {} and None where it does not."""

    dataset: str
    official: Mapping[str, float | None]
    labelled_only: Mapping[str, float | None]


def kept_of(model: Model) -> list[DatasetAccuracy]:
    """What the registry keeps of a model's attributes, one for each dataset."""
    judged = {name: one for name, one in model.scores.items() if isinstance(one, dict) and one.get("attributes")}
    folders = [name.rpartition(" ")[0] or name for name in judged]
    return [
        DatasetAccuracy(
            # The digest behind a folder's name only tells two of one name apart.
            dataset=folder if folders.count(folder) == 1 else name,
            official=one["attributes"],
            labelled_only=one.get("attributes_labelled_only") or {},
        )
        for (name, one), folder in zip(judged.items(), folders, strict=True)
    ]


def show_overview(context: PageContext, view: View, known: Reviews) -> None:
    """Show a table and a plot of all attributes, and say what was never reviewed, and what is not kept."""
    kept = kept_of(view.model)
    found = {} if known.sample is None else precisions(known.key, view.sure, known.sample.reviewed)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if found or kept:
            _table(context, overview(view.schema, found, kept))
        if found:
            _never_reviewed(view.schema, found)
        if not kept:
            st.caption(
                "No accuracies on a dataset are kept of this model: `vestigo models compare MODEL OTHER --data DATASET "
                "--store STORE` judges two models and keeps them."
            )
        elif not any(one.labelled_only for one in kept):
            st.caption("Labelled-only accuracies are kept of models that are judged from now on.")
    made = forest(view.schema, found, kept)
    if made.data:
        with right:
            charts.show_figure(made, key="attributes-forest", alt="Accuracy of every attribute with its interval")


def _table(context: PageContext, frame: pd.DataFrame) -> None:
    number = st.column_config.NumberColumn
    show_table(
        context,
        frame,
        name="attributes",
        title="How right the model is about attributes",
        columns={name: number(format="%.1f") for name in frame.columns if name.endswith("(%)")},
        height=min(len(frame) + 1, 16) * 35 + 3,
    )


def overview(
    schema: AttributeSchema, found: Mapping[str, AttributePrecision], kept: list[DatasetAccuracy]
) -> pd.DataFrame:
    """A row for each attribute; shares in percent, None where nothing is known."""
    rows = []
    for attribute in schema.attributes:
        one = found.get(attribute.name)
        accuracy = None if one is None else one.accuracy
        row: dict[str, Any] = {
            "Attribute": attribute.title.capitalize(),
            "Accuracy (%)": None if accuracy is None else 100 * accuracy.value,
            "From (%)": None if accuracy is None else 100 * accuracy.low,
            "To (%)": None if accuracy is None else 100 * accuracy.high,
            "Tasks": 0 if accuracy is None else accuracy.reviewed,
            "Cannot tell": 0 if one is None else one.cannot_tell,
            "More for ±3 %": None if one is None else one.more_reviews,
        }
        for judged in kept:
            row[f"{judged.dataset}, {OFFICIAL} (%)"] = judged.official.get(attribute.name)
            row[f"{judged.dataset}, {LABELLED} (%)"] = judged.labelled_only.get(attribute.name)
        rows.append(row)
    frame = pd.DataFrame(rows)
    shares = [name for name in frame.columns if name.endswith("%)")]
    return frame.astype(dict.fromkeys(shares, "float64") | {"More for ±3 %": "Int64"})


def forest(schema: AttributeSchema, found: Mapping[str, AttributePrecision], kept: list[DatasetAccuracy]) -> go.Figure:
    """A line for each attribute: its accuracy with its interval, and what is kept beside it."""
    made = charts.new_figure(x="Accuracy (%)", height=MARGIN)
    titles = {attribute.name: attribute.title.capitalize() for attribute in schema.attributes}
    sure = {name: one.accuracy for name, one in found.items() if one.accuracy is not None}
    if sure:
        made.add_scatter(
            x=[100 * one.value for one in sure.values()],
            y=[titles[name] for name in sure],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (one.high - one.value) for one in sure.values()],
                "arrayminus": [100 * (one.value - one.low) for one in sure.values()],
            },
            customdata=[[100 * one.low, 100 * one.high, one.reviewed] for one in sure.values()],
            hovertemplate="%{x:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}), %{customdata[2]} tasks",
            mode="markers",
            marker={"size": 9, "symbol": charts.SYMBOLS[0]},
            name=REVIEWED,
        )
    series = [(f"{one.dataset}, {kind}", told) for one in kept for kind, told in _kinds(one)]
    for place, (name, told) in enumerate(series, start=1):
        points = {attribute: value for attribute, value in told.items() if value is not None and attribute in titles}
        if points:
            made.add_scatter(
                x=list(points.values()),
                y=[titles[attribute] for attribute in points],
                hovertemplate="%{x:.1f} %",
                mode="markers",
                marker={
                    "size": 9,
                    "symbol": f"{charts.SYMBOLS[place % len(charts.SYMBOLS)]}-open",
                    "line": {"width": 2},
                },
                name=name,
            )
    made.update_yaxes(categoryorder="array", categoryarray=list(titles.values())[::-1], type="category")
    # Room for a legend of several lines, which one gets when the page is made narrower later.
    made.update_layout(
        margin={"t": 24 + LEGEND * len(made.data)}, height=MARGIN + LEGEND * len(made.data) + ROW * len(schema)
    )
    return made


def _kinds(kept: DatasetAccuracy) -> tuple[tuple[str, Mapping[str, float | None]], ...]:
    return (OFFICIAL, kept.official), (LABELLED, kept.labelled_only)


def _never_reviewed(schema: AttributeSchema, found: Mapping[str, AttributePrecision]) -> None:
    missing = [name for name in schema.names if found[name].accuracy is None]
    if missing:
        titles = ", ".join(schema[name].title for name in missing)
        push = f"vestigo label push --store STORE --project PROJECT --about {','.join(missing)}"
        st.caption(f"Nothing was reviewed here of {titles}: `{push}` asks, `vestigo label pull` fetches the answers.")
