"""One result in depth, in a dialog above the page: query and crop, why it matched, and where it was seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import streamlit as st

from vestigo.reports.panels import region_overlay
from vestigo.retrieval.query import Query
from vestigo_ui.app import images as pictures
from vestigo_ui.app import url_state as links
from vestigo_ui.app.components.contact_sheet import montage
from vestigo_ui.app.components.result.explanation import show_why
from vestigo_ui.app.components.result.place import show_place, show_relatives
from vestigo_ui.app.components.result.regions import Regions, regions_of_crop, regions_of_picture, sources
from vestigo_ui.app.components.result.verdict import show_decision
from vestigo_ui.app.context import Desk
from vestigo_ui.app.errors import told
from vestigo_ui.app.text import counted, tile
from vestigo_ui.web.auth.users import Role

SIDE = (384, 192)
"""Height and width of a picture, in pixels."""
MOST_VIEWS = 8


def show_sides(desk: Desk, query: Query, crop: str, uploads: Sequence[pictures.Image], *, model: str) -> None:
    """Show the views of the query beside the crop."""
    views = query.crops[:MOST_VIEWS]
    images = pictures.crops(desk, list(dict.fromkeys((*views, crop))), model=model)
    given = [*((images[view], view) for view in views), *((image, None) for image in uploads)][:MOST_VIEWS]
    chosen = st.segmented_control(
        "Regions", ["Off", *sources(desk, model)], default="Off", key="result-regions", label_visibility="collapsed"
    )
    source = None if chosen in (None, "Off") else str(chosen)
    columns = st.columns(2, gap="small")
    if given:
        with columns[0]:
            shown = [_side(desk, image, view, source, model) for image, view in given]
            _picture([image for image, _ in shown], f"Query, {counted(len(given), 'view')}", "The query")
    with columns[1]:
        picture, regions = _side(desk, images[crop], crop, source, model)
        _picture([picture], "Result", "The result")
    if regions is not None:
        _legend(regions)


def _side(
    desk: Desk, image: pictures.Image, crop: str | None, source: str | None, model: str
) -> tuple[pictures.Image, Regions | None]:
    if source is None:
        return tile(image, SIDE), None
    found = regions_of_picture(image, source, model) if crop is None else regions_of_crop(desk, crop, source, model)
    return tile(region_overlay(image, found.labels, found.schema), SIDE), found


def _picture(shown: Sequence[pictures.Image], caption: str, alt: str) -> None:
    image = shown[0] if len(shown) == 1 else montage(shown)[0]
    st.image(image, caption=caption, width="stretch", output_format="JPEG", alt=alt)


def _legend(regions: Regions) -> None:
    """What the colours are, and where the regions come from."""
    seen = [regions.schema.regions[place] for place in np.unique(regions.labels) if 0 < place < len(regions.schema)]
    marks = "".join(
        f'<span style="display:inline-block;width:.8em;height:.8em;border-radius:2px;margin:0 .3em 0 .8em;'
        f'background:rgb{region.colour_rgb}"></span>{escape(region.name)}'
        for region in seen
    )
    st.html(f'<div style="font-size:.85rem">{regions.origin}:{marks}</div>')


LOOK = "look"
"""The parameter of the address that holds the crop which is open."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a result is the answer to.

    Attributes:
        query: the views of the person; none where `where` alone was asked.
        model: digest of the model that compared.
        where: the conditions, where there is no view.
        uploads: RGB pictures of the views that are not in the store, as they may be shown.
        found: crops of the answer in its order, with the distances that it gave them.
        key: `vestigo.store.query_key` that decisions are kept under; None where nothing can be decided.
    """

    query: Query
    model: str
    where: str = ""
    uploads: tuple[pictures.Image, ...] = ()
    found: Mapping[str, float] = field(default_factory=dict)
    key: str | None = None


def open_dialog(
    desk: Desk,
    query: Query,
    crop: str,
    *,
    model: str,
    on_close: Callable[[], None],
    where: str = "",
    uploads: Sequence[pictures.Image] = (),
    found: Mapping[str, float] | None = None,
    key: str | None = None,
) -> None:
    """Show a crop of the store as the answer to a query; the address names it under `LOOK`, or it is `crop`.

    Arguments as in `Result`. Whoever goes on to another of the results changes the address, not the page behind;
    `on_close` runs before the page is shown again.
    """
    result = Result(query=query, model=model, where=where, uploads=tuple(uploads), found=found or {}, key=key)
    st.dialog("Result", width="large", icon=":material/person_search:", on_dismiss=on_close)(_show)(desk, result, crop)


def _show(desk: Desk, result: Result, first: str) -> None:
    with told():
        crop = links.text(LOOK) or first
        (row,) = pictures.facts(desk, [crop], model=result.model)
        desk.audit_once("view", crop=crop)
        _turn(desk, result, crop)
        left, right = st.columns([4, 5], gap="medium")
        with left:
            show_sides(desk, result.query, crop, result.uploads, model=result.model)
            if result.key is not None:
                show_decision(desk, result.key, crop)
        with right:
            show_why(desk, result.query, crop, model=result.model, where=result.where, listed=result.found.get(crop))
        show_relatives(desk, row, model=result.model, on_choose=look_at)
        show_place(desk, row, model=result.model)


def look_at(crop: str) -> None:
    """Write to the address which crop is open."""
    links.put(**{LOOK: crop})


def _turn(desk: Desk, result: Result, crop: str) -> None:
    """The way to the results before and after, and to a search with this one."""
    order = list(result.found)
    place = order.index(crop) if crop in result.found else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name, icon, step in (("Previous", "chevron_left", -1), ("Next", "chevron_right", 1)):
            other = None if place is None else place + step
            possible = other is not None and 0 <= other < len(order)
            st.button(
                f"{name} result",
                key=f"result-{name}",
                icon=f":material/{icon}:",
                icon_position="left" if step < 0 else "right",
                shortcut="Left" if step < 0 else "Right",
                disabled=not possible,
                on_click=look_at,
                args=(order[other],) if possible and other is not None else (crop,),
            )
        st.caption("Not among the results" if place is None else f"{place + 1:,} of {len(order):,}")
        st.link_button("Find with this crop", f"/find?crop={crop}", icon=":material/person_search:", type="tertiary")
        if desk.may(Role.REVIEWER):
            st.link_button("Correct attributes", f"/review?sighting={crop}", icon=":material/edit:", type="tertiary")
