"""Overview of all attributes: accuracy in the archive and on datasets."""

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
from vestigo_ui.app.components.tables import percent_frame, show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.estimates import SelectedSample, accuracy_by_attribute, estimate_columns
from vestigo_ui.app.pages.attributes.selection import AttributesSelection
from vestigo_ui.app.text import attribute_titles, escape_md

ROW, LEGEND, MARGIN = 26, 20, 60
"""Height in pixels of an attribute, of a line of the legend, and of everything else."""
ARCHIVE, OFFICIAL, LABELLED_ONLY = "Archive, 95 %", "official", "labelled only"


@dataclass(frozen=True, kw_only=True)
class DatasetAccuracy:
    """Accuracies of a model on a dataset in percent, by attribute; None or missing if unknown.

    Attributes:
        dataset: Name of the dataset.
        official: Over all images, by the rules of the dataset.
        labelled_only: Over the images that have a label.
    """

    dataset: str
    official: Mapping[str, float | None]
    labelled_only: Mapping[str, float | None]


def dataset_accuracies(model: Model) -> list[DatasetAccuracy]:
    """Return the accuracies that are registered with a model."""
    scores = {name: part for name, part in model.scores.items() if isinstance(part, dict) and part.get("attributes")}
    folders = [name.rpartition(" ")[0] or name for name in scores]
    return [
        DatasetAccuracy(
            # The digest after the name is only needed to tell datasets of one name apart.
            dataset=folder if folders.count(folder) == 1 else name,
            official=part["attributes"],
            labelled_only=part.get("attributes_labelled_only") or {},
        )
        for (name, part), folder in zip(scores.items(), folders, strict=True)
    ]


def show_overview(context: PageContext, selection: AttributesSelection, sample: SelectedSample) -> None:
    """Show a table and a figure of all attributes."""
    schema, datasets = selection.schema, dataset_accuracies(selection.model)
    crops = sample.sample
    estimates = {} if crops is None else accuracy_by_attribute(sample.key, selection.confidence, crops.reviewed)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if estimates or datasets:
            frame = overview_table(schema, estimates, datasets)
            show_table(context, frame, name="attributes", title="Accuracy of attributes", max_rows=15)
        _show_unannotated(schema, estimates)
        if not datasets:
            st.caption(
                "No accuracy on a dataset is registered with this model: `vestigo models compare MODEL OTHER --data "
                "DATASET --store STORE` evaluates two models and registers their scores."
            )
        elif not any(dataset.labelled_only for dataset in datasets):
            st.caption("Labelled-only accuracies are registered with models that are evaluated from now on.")
    figure = overview_figure(schema, estimates, datasets)
    if figure.data:
        with right:
            charts.show_figure(figure, key="attributes-forest", alt="Accuracy of every attribute with its interval")


def overview_table(
    schema: AttributeSchema, estimates: Mapping[str, AttributePrecision], datasets: list[DatasetAccuracy]
) -> pd.DataFrame:
    """Return one row for each attribute, with shares in percent."""
    rows = []
    for name, title in attribute_titles(schema).items():
        estimate = estimates.get(name)
        row: dict[str, Any] = {
            "Attribute": title,
            **estimate_columns("Accuracy", None if estimate is None else estimate.accuracy),
            "Cannot tell": 0 if estimate is None else estimate.cannot_tell,
            "More for ±3 %": None if estimate is None else estimate.more_reviews,
        }
        for dataset in datasets:
            for kind, accuracies in _kinds(dataset):
                row[f"{dataset.dataset}, {kind} (%)"] = accuracies.get(name)
        rows.append(row)
    return percent_frame(rows).astype({"More for ±3 %": "Int64"})


def overview_figure(
    schema: AttributeSchema, estimates: Mapping[str, AttributePrecision], datasets: list[DatasetAccuracy]
) -> go.Figure:
    """Return the figure: one line for each attribute, with intervals of the estimates."""
    titles = attribute_titles(schema)
    figure = charts.new_figure(x="Accuracy (%)", height=MARGIN)
    known = {name: part.accuracy for name, part in estimates.items() if part.accuracy is not None}
    if known:
        low, value, high = (
            [100 * getattr(estimate, side) for estimate in known.values()] for side in ("low", "value", "high")
        )
        tasks = [estimate.reviewed for estimate in known.values()]
        figure.add_scatter(
            x=value,
            y=[titles[name] for name in known],
            error_x=charts.error_bars(low, value, high),
            customdata=list(zip(low, high, tasks, strict=True)),
            hovertemplate="%{x:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}), %{customdata[2]} tasks",
            mode="markers",
            marker={"size": 9, "symbol": charts.SYMBOLS[0]},
            name=ARCHIVE,
        )
    series = [(f"{dataset.dataset}, {kind}", part) for dataset in datasets for kind, part in _kinds(dataset)]
    for place, (name, accuracies) in enumerate(series, start=1):
        points = {titles[each]: share for each, share in accuracies.items() if share is not None and each in titles}
        symbol = f"{charts.SYMBOLS[place % len(charts.SYMBOLS)]}-open"
        if points:
            figure.add_scatter(
                x=list(points.values()),
                y=list(points),
                hovertemplate="%{x:.1f} %",
                mode="markers",
                marker={"size": 9, "symbol": symbol, "line": {"width": 2}},
                name=name,
            )
    figure.update_yaxes(categoryorder="array", categoryarray=list(titles.values())[::-1], type="category")
    # The legend has several lines when the page is narrow.
    legend = LEGEND * len(figure.data)
    figure.update_layout(margin={"t": 24 + legend}, height=MARGIN + legend + ROW * len(schema))
    return figure


def _kinds(dataset: DatasetAccuracy) -> tuple[tuple[str, Mapping[str, float | None]], ...]:
    return (OFFICIAL, dataset.official), (LABELLED_ONLY, dataset.labelled_only)


def _show_unannotated(schema: AttributeSchema, estimates: Mapping[str, AttributePrecision]) -> None:
    missing = [name for name in schema.names if name in estimates and estimates[name].accuracy is None]
    if missing:
        titles = ", ".join(schema[name].title for name in missing)
        push = f"vestigo label push --store STORE --project PROJECT --about {','.join(missing)}"
        st.caption(
            f"No annotations of {escape_md(titles)}. `{push}` sends tasks, `vestigo label pull` fetches annotations."
        )
