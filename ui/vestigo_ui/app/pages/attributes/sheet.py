"""The crops behind the numbers: those of one confusion, or the archive's sightings by how sure the model is of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.components.contact_sheet import Tile, Tone, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import load_crops, load_facts
from vestigo_ui.app.pages.attributes.selection import View, cells, indexed, start_again
from vestigo_ui.app.text import count_text, escape_md, format_moment

PAGE = 48
WIDTH = 116
ORDERS = {"least": "Least sure first", "most": "Most sure first"}


def show_cell(context: PageContext, view: View, sample: ReviewSample, cell: str) -> None:
    """Show the reviewed crops of a predicted and an answered value, those that the model was surest of first."""
    said, told = cells(view.attribute)[cell]
    answer = CANNOT_TELL if told == UNDECIDABLE else view.attribute.values[told]
    rows = ordered(sample, view, said, told)
    st.subheader(f"Predicted {view.attribute.values[said]}, answered {answer}", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        tasks = len(np.unique(sample.reviewed.task[rows]))
        of = count_text(tasks, "reviewed task")
        st.caption(f"{count_text(len(rows), 'crop')} of {of}, the surest predictions first", width="content")
        st.button(
            "Show the archive instead",
            icon=":material/close:",
            type="tertiary",
            on_click=start_again,
            kwargs={"cell": None},
        )
    if not len(rows):
        st.info("No reviewed crop is here. Choose another cell, a lower threshold or all cameras.")
        return
    page = choose_page(len(rows), PAGE)
    shown = rows[page * PAGE : (page + 1) * PAGE]
    ids = [str(crop) for crop in sample.crops[shown]]
    context.audit_once(
        "view", what="reviewed crops", attribute=view.attribute.name, cell=cell, page=page + 1, shown=ids
    )
    sure = sample.reviewed.confidence[shown, sample.reviewed.schema.index(view.attribute.name)]
    tone: Tone = "unsure" if told == UNDECIDABLE else "right" if told == said else "wrong"
    when = {row["crop_id"]: row for row in load_facts(context, ids, model=view.model.digest)}
    lines = {crop: (f"{share:.0%} sure", _when(when[crop])) for crop, share in zip(ids, sure, strict=True)}
    titles = dict(zip(ids, sample.reviewed.camera[shown].tolist(), strict=True))
    _opened(context, view, sample)
    _sheet(context, view, titles, lines, mark=answer, tone=tone)


def show_archive(context: PageContext, view: View) -> None:
    """Show the sightings of the archive that the model takes for a value, the least or the most sure first."""
    counts = _counts(context, view)
    count = counts[view.value] if view.value else sum(counts.values())
    st.subheader("In the archive", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        first = choose_one(
            "Order",
            list(ORDERS),
            "first",
            format_func=ORDERS.__getitem__,
            clear=(
                "page",
                "crop",
            ),
            widget=st.segmented_control,
            label_visibility="collapsed",
        )
        st.caption(
            f"{count_text(count, 'sighting')}{' taken for ' + view.value if view.value else ''}", width="content"
        )
    page = choose_page(count, PAGE)
    name = view.attribute.name
    choice = SightingFilter(cameras=view.cameras, where=f"{name}={view.value}" if view.value else "")
    found = context.index.by_confidence(
        view.model.digest,
        choice,
        name,
        first="most" if first == "most" else "least",
        offset=page * PAGE,
        limit=PAGE,
    )
    if not found:
        st.info("The model takes nobody there for this. Choose another value or camera.")
        return
    ids = [one.crop for one in found]
    context.audit_once(
        "view", what="sightings", attribute=name, value=view.value, first=first, page=page + 1, shown=ids
    )
    lines = {
        one.crop: (
            f"{one.attributes[name]}, {one.confidences[name]:.0%} sure",
            format_moment(one.time, one.offset_s).removesuffix(" UTC"),
        )
        for one in found
    }
    _opened(context, view, None)
    _sheet(context, view, {one.crop: one.camera for one in found}, lines)


def show_distribution(context: PageContext, view: View) -> None:
    """Show how many sightings of the archive the model takes for each value."""
    counts = _counts(context, view)
    made = distribution(counts)
    charts.show_figure(made, key="attributes-distribution", alt=f"Sightings by predicted {view.attribute.title}")
    with st.expander("As a table"):
        frame = pd.DataFrame({"Value": list(counts), "Sightings": list(counts.values())})
        frame["Share (%)"] = 100 * frame["Sightings"] / max(1, sum(counts.values()))
        show_table(
            context,
            frame,
            name=f"sightings-{view.attribute.name}",
            title=f"Sightings by predicted {view.attribute.title}",
            columns={"Share (%)": st.column_config.NumberColumn(format="%.1f")},
        )


def ordered(sample: ReviewSample, view: View, said: int, told: int) -> Any:
    """Rows of the reviewed crops of a cell, those that the model was surest of first, then by crop."""
    flags = cell_rows(sample.reviewed, view.attribute.name, said, told, confidence=view.sure)
    rows = np.flatnonzero(flags)
    sure = sample.reviewed.confidence[rows, sample.reviewed.schema.index(view.attribute.name)]
    return rows[np.lexsort((sample.crops[rows], -sure))]


def distribution(counts: Mapping[str, int]) -> go.Figure:
    """The figure: how many sightings show each value."""
    made = charts.new_figure(x="Sightings", height=110 + 26 * len(counts), legend=False)
    made.add_bar(
        x=list(counts.values()),
        y=list(counts),
        orientation="h",
        hovertemplate="%{y}: %{x:,} sightings<extra></extra>",
        marker={"color": charts.COLOURS[0]},
    )
    made.update_yaxes(type="category", autorange="reversed")
    return made


def _counts(context: PageContext, view: View) -> dict[str, int]:
    return _all_counts(view.model.digest, indexed(context), view.cameras, context)[view.attribute.name]


@st.cache_data(max_entries=16, show_spinner=False)
def _all_counts(
    model: str, state: tuple[str, int], cameras: tuple[str, ...] | None, _context: PageContext
) -> dict[str, dict[str, int]]:
    return _context.index.attribute_counts(model, SightingFilter(cameras=cameras))


def _sheet(
    context: PageContext,
    view: View,
    titles: Mapping[str, str],
    lines: Mapping[str, tuple[str, ...]],
    *,
    mark: str = "",
    tone: Tone = "",
) -> None:
    images = load_crops(context, list(titles), model=view.model.digest)
    opened = url_state.text("crop")
    tiles = [
        Tile(
            crop=crop,
            image=images[crop],
            title=title,
            lines=lines[crop],
            mark=mark,
            tone=tone,
            selected=crop == opened,
        )
        for crop, title in titles.items()
    ]
    event = contact_sheet(tiles, key="attributes-sheet", label="Crops", width=WIDTH)
    if event is not None:
        url_state.put(crop=event.crop)
        st.rerun()


def _opened(context: PageContext, view: View, sample: ReviewSample | None) -> None:
    """What is known of the crop that was clicked, and where it is found elsewhere."""
    crop = url_state.text("crop")
    sighting = context.index.find(crop, view.model.digest) if crop else None
    if sighting is None:
        return
    context.audit_once("view", crop=crop)
    place = [] if sample is None else np.flatnonzero(sample.crops == crop).tolist()
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        image = load_crops(context, [crop], model=view.model.digest)[crop]
        st.image(image, width=96)
        with st.container(width="stretch"):
            st.markdown(f"**{escape_md(sighting.camera)}**, {format_moment(sighting.time, sighting.offset_s)}")
            st.caption(_told(view, sighting.attributes, sighting.confidences))
            with st.container(horizontal=True, gap="small"):
                st.link_button("Find this person", f"/find?crop={crop}", icon=":material/person_search:")
                if sample is not None and place:
                    _task_button(context, sample, place[0])
                st.button(
                    "Close", icon=":material/close:", type="tertiary", on_click=url_state.put, kwargs={"crop": None}
                )


def _task_button(context: PageContext, sample: ReviewSample, row: int) -> None:
    task = sample.tasks[int(sample.reviewed.task[row])]
    there = task_url(context.store.review.get_project(task.project), task)
    if there is not None:
        st.link_button("Open in Label Studio", there, icon=":material/open_in_new:")
    else:
        st.caption(f"Task {task.key[:12]} of project {escape_md(task.project)} is on no server.", width="content")


def _told(view: View, attributes: Mapping[str, str], sure: Mapping[str, float]) -> str:
    said: Sequence[str] = [
        f"{attribute.title} {attributes[attribute.name]} ({sure[attribute.name]:.0%})"
        for attribute in view.schema.attributes
        if attribute.name in attributes
    ]
    return " · ".join(said)


def _when(row: Mapping[str, Any]) -> str:
    return format_moment(row["time"], row["offset_s"]).removesuffix(" UTC")
