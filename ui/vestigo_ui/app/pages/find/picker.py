"""Choosing from the archive whom to look for: its sightings, page by page."""

from __future__ import annotations

import streamlit as st

from vestigo.sightings.records import Choice, Sighting
from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, load_crops
from vestigo_ui.app.pages.find import form as search_form
from vestigo_ui.app.pages.find.form import SearchForm
from vestigo_ui.app.pages.find.results import brief
from vestigo_ui.app.pages.find.settings import attributes, first_page, span
from vestigo_ui.app.text import count_text, format_moment

PAGE = 48
WIDTH = 116
ADD = Action(name="add", label="Add to the query, and choose more", sign="+", key="a")


def picker(context: PageContext, model: Model, asked: SearchForm) -> None:
    """Show the sightings that the address chooses; a click searches with one, and adds it where there is a query."""
    choice = _choice(context, model)
    count = context.index.count(model.digest, choice)
    if not count:
        st.info("Nobody was seen there. Choose other cameras, another time or fewer attributes.")
        return
    page = choose_page(count, PAGE, name="sheet")
    found = context.index.page(model.digest, choice, offset=page * PAGE, limit=PAGE)
    context.audit_once("view", what="sightings", page=page + 1, shown=[sighting.crop for sighting in found])
    images = load_crops(context, [sighting.crop for sighting in found], model=model.digest)
    st.caption(
        f"{count_text(count, 'sighting')} · {'a click adds to the query' if asked.views else 'a click searches'}"
    )
    tiles = [_tile(sighting, images[sighting.crop], asked) for sighting in found]
    chosen = contact_sheet(tiles, key="find-picker", label="Sightings", actions=[ADD], width=WIDTH)
    if chosen is not None:
        search_form.join([chosen.crop])
        url_state.put(pane="archive" if chosen.action == "add" else None)
        st.rerun()


def _choice(context: PageContext, model: Model) -> Choice:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        names = [camera.name for camera in context.store.cameras.list()]
        cameras = st.multiselect(
            "Seen by",
            names,
            key="camera",
            bind="query-params",
            placeholder="All cameras",
            on_change=first_page,
            width=260,
        )
        since, until = span("from", "to")
        schema = model.facts.attributes
        where = attributes(schema, "wearing", "Looking like") if schema is not None else ""
    return SightingFilter(cameras=tuple(cameras) or None, since=since, until=until, where=where)


def _tile(sighting: Sighting, image: Image, asked: SearchForm) -> Tile:
    crops = count_text(sighting.crops, "crop") if sighting.crops > 1 else ""
    when = format_moment(sighting.time, sighting.offset_s).removesuffix(" UTC")
    return Tile(
        crop=sighting.crop,
        image=image,
        title=sighting.camera,
        lines=tuple(line for line in (when, crops) if line),
        hint=brief(sighting.attributes, sighting.confidences),
        selected=sighting.crop in asked.crops,
    )
