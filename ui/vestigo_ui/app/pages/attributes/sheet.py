"""Crops of page Attributes: those of a cell of the confusion, or sightings of the archive by confidence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.confusion import cell_rows
from vestigo.review.estimates.precision import UNDECIDABLE
from vestigo.review.estimates.review_sample import ReviewSample
from vestigo.review.label_studio.projects import task_url
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.sightings.records import SightingFilter
from vestigo_models.arrays import Int64Array
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.choice import choose_page, choose_segment
from vestigo_ui.app.components.contact_sheet import Tone, show_crops
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import load_crops, load_facts
from vestigo_ui.app.pages.attributes.selection import AttributesSelection, cell_classes, restart_sheet
from vestigo_ui.app.text import count_text, escape_md, format_moment

PAGE = 48
SHEET: dict[str, Any] = {"key": "attributes-sheet", "label": "Crops", "width": 116}
"""Contact sheet of the page."""
ORDERS = {"least": "Lowest confidence first", "most": "Highest confidence first"}


def show_cell(context: PageContext, selection: AttributesSelection, sample: ReviewSample, cell: str) -> None:
    """Show the annotated crops of a cell, the highest confidence first."""
    predicted, label = cell_classes(selection.attribute)[cell]
    name, values = selection.attribute.name, selection.attribute.values
    label_text = CANNOT_TELL if label == UNDECIDABLE else values[label]
    rows = sort_cell(sample, selection, predicted, label)
    st.subheader(escape_md(f"Predicted {values[predicted]}, label {label_text}"), anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        tasks = count_text(len(np.unique(sample.reviewed.task[rows])), "annotated task")
        st.caption(f"{count_text(len(rows), 'crop')} of {tasks}, highest confidence first", width="content")
        st.button(
            "Show the archive instead",
            icon=":material/close:",
            type="tertiary",
            on_click=restart_sheet,
            kwargs={"cell": None},
        )
    if not len(rows):
        st.info("This cell has no annotated crops. Choose another cell, a lower threshold or all cameras.")
        return
    page = choose_page(len(rows), PAGE)
    shown = rows[page * PAGE : (page + 1) * PAGE]
    ids = [str(crop) for crop in sample.crops[shown]]
    context.audit_once("view", what="reviewed crops", attribute=name, cell=cell, page=page + 1, shown=ids)
    confidences = sample.reviewed.confidence[shown, sample.reviewed.schema.index(name)]
    tone: Tone = "unsure" if label == UNDECIDABLE else "right" if label == predicted else "wrong"
    facts = load_facts(context, ids, model=selection.model.digest)
    texts = {
        row["crop_id"]: (row["camera"], f"{share:.0%}", format_moment(row["time"], row["offset_s"], zone=False))
        for row, share in zip(facts, confidences, strict=True)
    }
    _show_open_crop(context, selection, sample)
    options = {"mark": label_text, "tone": tone, **SHEET}
    show_crops(context, texts, "crop", model=selection.model.digest, **options)


def show_archive(context: PageContext, selection: AttributesSelection) -> None:
    """Show the sightings of the archive that are predicted as the selected value, by confidence."""
    counts = _count_values(context, selection)
    count = counts[selection.value] if selection.value else sum(counts.values())
    st.subheader("In the archive", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        first = choose_segment("Order", ORDERS, "first", clear=("page", "crop"), label_visibility="collapsed")
        suffix = f" predicted as {escape_md(selection.value)}" if selection.value else ""
        st.caption(f"{count_text(count, 'sighting')}{suffix}", width="content")
    page = choose_page(count, PAGE)
    name, value = selection.attribute.name, selection.value
    sightings = context.index.by_confidence(
        selection.model.digest,
        SightingFilter(cameras=selection.cameras, where=f"{name}={value}" if value else ""),
        name,
        first="most" if first == "most" else "least",
        offset=page * PAGE,
        limit=PAGE,
    )
    if not sightings:
        st.info("There is no such sighting. Choose another value or camera.")
        return
    ids = [sighting.crop for sighting in sightings]
    context.audit_once("view", what="sightings", attribute=name, value=value, first=first, page=page + 1, shown=ids)
    texts = {
        sighting.crop: (
            sighting.camera,
            f"{sighting.attributes[name]}, {sighting.confidences[name]:.0%}",
            format_moment(sighting.time, sighting.offset_s, zone=False),
        )
        for sighting in sightings
    }
    _show_open_crop(context, selection, None)
    show_crops(context, texts, "crop", model=selection.model.digest, **SHEET)


def show_distribution(context: PageContext, selection: AttributesSelection) -> None:
    """Show the number of sightings that are predicted as each value."""
    counts = _count_values(context, selection)
    title = f"Sightings by predicted {selection.attribute.title}"
    charts.show_figure(distribution_figure(counts), key="attributes-distribution", alt=title)
    with st.expander("As a table"):
        frame = pd.DataFrame({"Value": list(counts), "Sightings": list(counts.values())})
        frame["Share (%)"] = 100 * frame["Sightings"] / max(1, sum(counts.values()))
        show_table(context, frame, name=f"sightings-{selection.attribute.name}", title=title)


def sort_cell(sample: ReviewSample, selection: AttributesSelection, predicted: int, label: int) -> Int64Array:
    """Return the rows of a cell's crops by falling confidence, then by crop."""
    name, crops = selection.attribute.name, sample.reviewed
    rows = np.flatnonzero(cell_rows(crops, name, predicted, label, confidence=selection.confidence))
    order = np.lexsort((sample.crops[rows], -crops.confidence[rows, crops.schema.index(name)]))
    return np.asarray(rows[order], np.int64)


def distribution_figure(counts: Mapping[str, int]) -> go.Figure:
    """Return the figure: the number of sightings of each value."""
    figure = charts.new_figure(x="Sightings", height=110 + 26 * len(counts), legend=False)
    figure.add_bar(
        x=list(counts.values()),
        y=list(counts),
        orientation="h",
        hovertemplate="%{y}: %{x:,} sightings<extra></extra>",
        marker={"color": charts.COLOURS[0]},
    )
    figure.update_yaxes(type="category", autorange="reversed")
    return figure


def _count_values(context: PageContext, selection: AttributesSelection) -> dict[str, int]:
    digest, state = selection.model.digest, context.index_state
    return _attribute_counts(digest, state, selection.cameras, context)[selection.attribute.name]


@st.cache_data(max_entries=16, show_spinner=False)
def _attribute_counts(
    model: str, state: tuple[str, int], cameras: tuple[str, ...] | None, _context: PageContext
) -> dict[str, dict[str, int]]:
    return _context.index.attribute_counts(model, SightingFilter(cameras=cameras))


def _show_open_crop(context: PageContext, selection: AttributesSelection, sample: ReviewSample | None) -> None:
    """Show the predictions of the open crop, with links to other pages and its task."""
    crop = url_state.text("crop")
    sighting = context.index.find(crop, selection.model.digest) if crop else None
    if sighting is None:
        if crop:
            url_state.refuse(f'the store has no sighting "{crop}" of this model.')
        return
    context.audit_once("view", crop=crop)
    rows = [] if sample is None else np.flatnonzero(sample.crops == crop).tolist()
    predictions = [
        f"{attribute.title} {sighting.attributes[attribute.name]} ({sighting.confidences[attribute.name]:.0%})"
        for attribute in selection.schema.attributes
        if attribute.name in sighting.attributes
    ]
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        st.image(load_crops(context, [crop], model=selection.model.digest)[crop], width=96, alt="The opened crop")
        with st.container(width="stretch"):
            st.markdown(f"**{escape_md(sighting.camera)}**, {format_moment(sighting.time, sighting.offset_s)}")
            st.caption(" · ".join(predictions))
            with st.container(horizontal=True, gap="small"):
                st.link_button("Find this person", f"/find?crop={crop}", icon=":material/person_search:")
                if sample is not None and rows:
                    _show_task(context, sample, rows[0])
                st.button(
                    "Close", icon=":material/close:", type="tertiary", on_click=url_state.put, kwargs={"crop": None}
                )


def _show_task(context: PageContext, sample: ReviewSample, row: int) -> None:
    task = sample.tasks[int(sample.reviewed.task[row])]
    url = task_url(context.store.review.get_project(task.project), task)
    if url is not None:
        st.link_button("Open in Label Studio", url, icon=":material/open_in_new:")
    else:
        st.caption(f"Task {task.key[:12]} of project {escape_md(task.project)} is on no server.", width="content")
