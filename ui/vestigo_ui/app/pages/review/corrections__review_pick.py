"""Sightings to correct: those that the model is least sure of in an attribute, the archive over."""

from __future__ import annotations

import streamlit as st

from vestigo.sightings.records import EVERYBODY
from vestigo.store.runs.records import Model
from vestigo_ui.app import images as pictures
from vestigo_ui.app import url_state as links
from vestigo_ui.app.components.choice import one_of
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.components.paging import pages
from vestigo_ui.app.context import Desk
from vestigo_ui.app.text import moment

PAGE = 48


def show_pick(desk: Desk, model: Model) -> None:
    """Show the sightings; a click opens one."""
    schema = model.facts.attributes
    if schema is None:
        st.info("The model of the archive predicts no attributes, so that there is nothing to correct.")
        return
    titles = {one.name: one.title.capitalize() for one in schema.attributes}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = one_of("Attribute", list(titles), "attribute", shown=titles.__getitem__, width=200)
        st.caption("Least sure first; a click opens a sighting to correct it.", width="content")
    total = desk.index.count(model.digest)
    page = pages(total, PAGE)
    found = desk.index.by_sureness(model.digest, EVERYBODY, name, first="least", offset=page * PAGE, limit=PAGE)
    ids = [one.crop for one in found]
    desk.audit_once("view", what="sightings to correct", attribute=name, page=page + 1, shown=ids)
    images = pictures.crops(desk, ids, model=model.digest)
    tiles = [
        Tile(
            crop=one.crop,
            image=images[one.crop],
            title=one.camera,
            lines=(
                f"{one.attributes[name]}, {one.sure[name]:.0%} sure",
                moment(one.time, one.offset_s).removesuffix(" UTC"),
            ),
        )
        for one in found
    ]
    event = contact_sheet(tiles, key="review-pick", label="Sightings", width=116)
    if event is not None:
        links.put(sighting=event.crop)
        st.rerun()
