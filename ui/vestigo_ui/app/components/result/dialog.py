"""Dialog of one result: query and crop next to each other, why they match, and where the crop was recorded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import streamlit as st

from vestigo.reports.panels import region_overlay
from vestigo.retrieval.query import Query
from vestigo_ui.app import url_state
from vestigo_ui.app.components.contact_sheet import montage
from vestigo_ui.app.components.result.bar import LOOK, apply_bar_actions, show_bar
from vestigo_ui.app.components.result.explanation import show_explanation
from vestigo_ui.app.components.result.place import show_place, show_related
from vestigo_ui.app.components.result.regions import CropRegions, region_sources, regions_of_crop, regions_of_image
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.images import Image, load_crops, load_facts
from vestigo_ui.app.text import count_text, fit_tile
from vestigo_ui.web.auth.users import Role

SIDE = (384, 192)
"""Height and width of the query and of the result in pixels."""
MAX_VIEWS = 8
CONDITIONS = ("within", "since", "until", "where", "filter", "lost", "sure", "rerank", "top")
"""Parameters of page Find that a search with another crop keeps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnsweredQuery:
    """A query with the distances of its results by crop, in their order, by the model with the digest `model`.

    Attributes:
        query: Views of the person; empty if only `where` was searched.
        where: Conditions on attributes, for a query without views.
        uploads: RGB images of the views that are not in the store, with heads hidden where that is required.
        key: Key of the query's verdicts; None where no verdict can be given.
    """

    query: Query
    model: str
    where: str = ""
    uploads: tuple[Image, ...] = ()
    distances: Mapping[str, float] = field(default_factory=dict)
    key: str | None = None


def open_dialog(context: PageContext, answered: AnsweredQuery, crop: str, *, on_close: Callable[[], None]) -> None:
    """Show a crop as a result of a query: the crop that the address names under `LOOK`, else `crop`.

    Going to another result changes the address and not the page behind; `on_close` runs before the page runs again.
    """
    show = st.dialog("Result", width="large", icon=":material/person_search:", on_dismiss=on_close)(_show)
    show(context, answered, crop)


@report_errors()
def _show(context: PageContext, answered: AnsweredQuery, first: str) -> None:
    order, model = list(answered.distances), answered.model
    outcomes = apply_bar_actions(context, order, answered.key)
    crop = url_state.text(LOOK) or first
    (row,) = load_facts(context, [crop], model=model)
    context.audit_once("view", crop=crop)
    show_bar(context, order, crop, answered.key, outcomes)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        address = url_state.link("/find", CONDITIONS, crop=crop)
        st.link_button("Find with this crop", address, icon=":material/person_search:", type="tertiary")
        if context.may(Role.REVIEWER):
            st.link_button("Correct attributes", f"/review?sighting={crop}", icon=":material/edit:", type="tertiary")
    left, right = st.columns([4, 5], gap="medium")
    with left:
        _show_images(context, answered, crop)
    with right:
        listed = answered.distances.get(crop)
        show_explanation(context, answered.query, crop, model=model, where=answered.where, listed=listed)
    show_related(context, row, model=model, parameter=LOOK)
    show_place(context, row, model=model)


def _show_images(context: PageContext, answered: AnsweredQuery, crop: str) -> None:
    """Show the views of the query next to the crop, with regions if the user wants them."""
    model = answered.model
    stored = answered.query.crops[:MAX_VIEWS]
    images = load_crops(context, list(dict.fromkeys((*stored, crop))), model=model)
    views = [*((images[view], view) for view in stored), *((image, None) for image in answered.uploads)][:MAX_VIEWS]
    options = ["Off", *region_sources(context, model)]
    source = st.segmented_control(
        "Regions", options, default="Off", required=True, key="result-regions", label_visibility="collapsed"
    )

    def region_map(image: Image, view: str | None) -> CropRegions | None:
        if source in (None, "Off"):
            return None
        if view is None:
            return regions_of_image(image, str(source), model)
        return regions_of_crop(context, view, str(source), model)

    columns = st.columns(2, gap="small")
    if views:
        with columns[0]:
            parts = [(image, region_map(image, view)) for image, view in views]
            _show_side(parts, f"Query, {count_text(len(views), 'view')}", "The query")
    with columns[1]:
        regions = region_map(images[crop], crop)
        _show_side([(images[crop], regions)], "Result", "The result")
    if regions is not None:
        _show_legend(regions)


def _show_side(parts: Sequence[tuple[Image, CropRegions | None]], caption: str, alt: str) -> None:
    """Show images with their regions drawn over them."""
    tiles = [
        fit_tile(image if regions is None else region_overlay(image, regions.labels, regions.schema), SIDE)
        for image, regions in parts
    ]
    image = tiles[0] if len(tiles) == 1 else montage(tiles)[0]
    st.image(image, caption=caption, width="stretch", output_format="JPEG", alt=alt)


def _show_legend(regions: CropRegions) -> None:
    present = [regions.schema.regions[place] for place in np.unique(regions.labels) if 0 < place < len(regions.schema)]
    marks = "".join(
        f'<span style="display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .3em 0 .8em;'
        f'background:rgb{region.colour_rgb}"></span>{escape(region.name)}'
        for region in present
    )
    st.html(f'<div style="font-size:.85rem">{regions.origin}:{marks}</div>')
