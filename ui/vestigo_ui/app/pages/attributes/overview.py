"""Overview of all attributes: accuracy in the archive and on datasets."""

from collections.abc import Mapping
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
ARCHIVE, LABELLED_ONLY = "Archive, 95 %", "labelled only"
Accuracies = Mapping[str, Mapping[str, float | None]]
"""Accuracies of attributes in percent by name of the series."""


def dataset_accuracies(model: Model) -> Accuracies:
    """Return the accuracies that are registered with a model by dataset and kind.

    Official accuracies are over all images, by the rules of the dataset, others over the images that have a label.
    """
    scores = {name: part for name, part in model.scores.items() if isinstance(part, dict) and part.get("attributes")}
    folders = [name.rpartition(" ")[0] or name for name in scores]
    accuracies: dict[str, Mapping[str, float | None]] = {}
    for (name, part), folder in zip(scores.items(), folders, strict=True):
        # The digest after the name is only needed to tell datasets of one name apart.
        dataset = folder if folders.count(folder) == 1 else name
        accuracies[f"{dataset}, official"] = part["attributes"]
        accuracies[f"{dataset}, {LABELLED_ONLY}"] = part.get("attributes_labelled_only") or {}
    return accuracies


def show_overview(context: PageContext, selection: AttributesSelection, sample: SelectedSample | None) -> None:
    """Show a table and a figure of all attributes."""
    schema, datasets = selection.schema, dataset_accuracies(selection.model)
    estimates: Mapping[str, AttributePrecision] = {}
    if sample is not None:
        estimates = accuracy_by_attribute(sample.key, selection.confidence, sample.sample.reviewed)
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
        elif not any(part for name, part in datasets.items() if name.endswith(LABELLED_ONLY)):
            st.caption("Labelled-only accuracies are registered with models that are evaluated from now on.")
    figure = overview_figure(schema, estimates, datasets)
    if figure.data:
        with right:
            charts.show_figure(figure, key="attributes-forest", alt="Accuracy of every attribute with its interval")


def overview_table(
    schema: AttributeSchema, estimates: Mapping[str, AttributePrecision], datasets: Accuracies
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
        rows.append(row | {f"{dataset} (%)": accuracies.get(name) for dataset, accuracies in datasets.items()})
    return percent_frame(rows).astype({"More for ±3 %": "Int64"})


def overview_figure(
    schema: AttributeSchema, estimates: Mapping[str, AttributePrecision], datasets: Accuracies
) -> go.Figure:
    """Return the figure: one line for each attribute, with intervals of the estimates."""
    frame = overview_table(schema, estimates, datasets)
    figure = charts.new_figure(x="Accuracy (%)", height=MARGIN)
    known = frame.dropna(subset="Accuracy (%)")
    if len(known):
        figure.add_scatter(
            x=known["Accuracy (%)"],
            y=known["Attribute"],
            error_x=charts.error_bars(known["From (%)"], known["Accuracy (%)"], known["To (%)"]),
            customdata=known[["From (%)", "To (%)", "Tasks"]],
            hovertemplate="%{x:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f}), %{customdata[2]} tasks",
            mode="markers",
            marker={"size": 9, "symbol": charts.SYMBOLS[0]},
            name=ARCHIVE,
        )
    for place, dataset in enumerate(datasets, start=1):
        points = frame.dropna(subset=f"{dataset} (%)")
        symbol = f"{charts.SYMBOLS[place % len(charts.SYMBOLS)]}-open"
        if len(points):
            figure.add_scatter(
                x=points[f"{dataset} (%)"],
                y=points["Attribute"],
                hovertemplate="%{x:.1f} %",
                mode="markers",
                marker={"size": 9, "symbol": symbol, "line": {"width": 2}},
                name=dataset,
            )
    figure.update_yaxes(categoryorder="array", categoryarray=frame["Attribute"][::-1], type="category")
    # The legend has several lines when the page is narrow.
    legend = LEGEND * len(figure.data)
    figure.update_layout(margin={"t": 24 + legend}, height=MARGIN + legend + ROW * len(schema))
    return figure


def _show_unannotated(schema: AttributeSchema, estimates: Mapping[str, AttributePrecision]) -> None:
    missing = [name for name in schema.names if name in estimates and estimates[name].accuracy is None]
    if missing:
        titles = ", ".join(schema[name].title for name in missing)
        push = f"vestigo label push --store STORE --project PROJECT --about {','.join(missing)}"
        st.caption(
            f"No annotations of {escape_md(titles)}. `{push}` sends tasks, `vestigo label pull` fetches annotations."
        )
