"""Choosing from the archive whom to look for: its sightings, page by page."""

from __future__ import annotations

import streamlit as st

from vestigo.sightings.records import Sighting, SightingFilter
from vestigo.store.models.records import Model
from vestigo_ui.app import images as pictures
from vestigo_ui.app import url_state as links
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.components.paging import pages
from vestigo_ui.app.context import Desk
from vestigo_ui.app.pages.find import form as find_asked
from vestigo_ui.app.pages.find.form import Asked
from vestigo_ui.app.pages.find.results import brief
from vestigo_ui.app.pages.find.settings import attributes, first_page, span
from vestigo_ui.app.text import counted, moment

PAGE = 48
WIDTH = 116
ADD = Action(name="add", label="Add to the query, and choose more", sign="+", key="a")


def picker(desk: Desk, model: Model, asked: Asked) -> None:
    """Show the sightings that the address chooses; a click searches with one, and adds it where there is a query."""
    choice = _choice(desk, model)
    count = desk.index.count(model.digest, choice)
    if not count:
        st.info("Nobody was seen there. Choose other cameras, another time or fewer attributes.")
        return
    page = pages(count, PAGE, name="sheet")
    found = desk.index.page(model.digest, choice, offset=page * PAGE, limit=PAGE)
    desk.audit_once("view", what="sightings", page=page + 1, shown=[sighting.crop for sighting in found])
    images = pictures.crops(desk, [sighting.crop for sighting in found], model=model.digest)
    st.caption(f"{counted(count, 'sighting')} · {'a click adds to the query' if asked.views else 'a click searches'}")
    tiles = [_tile(sighting, images[sighting.crop], asked) for sighting in found]
    chosen = contact_sheet(tiles, key="find-picker", label="Sightings", actions=[ADD], width=WIDTH)
    if chosen is not None:
        find_asked.join([chosen.crop])
        links.put(pane="archive" if chosen.action == "add" else None)
        st.rerun()


def _choice(desk: Desk, model: Model) -> SightingFilter:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        names = [camera.name for camera in desk.store.cameras.list()]
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


def _tile(sighting: Sighting, image: pictures.Image, asked: Asked) -> Tile:
    crops = counted(sighting.crops, "crop") if sighting.crops > 1 else ""
    when = moment(sighting.time, sighting.offset_s).removesuffix(" UTC")
    return Tile(
        crop=sighting.crop,
        image=image,
        title=sighting.camera,
        lines=tuple(line for line in (when, crops) if line),
        hint=brief(sighting.attributes, sighting.confidences),
        selected=sighting.crop in asked.crops,
    )
