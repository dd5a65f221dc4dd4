"""A row of a ranking in depth, above the page."""

from __future__ import annotations

import streamlit as st

from vestigo.retrieval.query import Query
from vestigo_ui.app import images as pictures
from vestigo_ui.app import url_state as links
from vestigo_ui.app.components.result.dialog import LOOK, open_dialog
from vestigo_ui.app.context import Desk
from vestigo_ui.app.errors import told
from vestigo_ui.app.pages.rankings.rows import strips
from vestigo_ui.app.pages.rankings.scores import Opened
from vestigo_ui.app.pages.rankings.selection import View
from vestigo_ui.app.text import plain

OF, SIDE = "of", "side"
"""The parameters that name the query whose row is open, and that it is a row of the second ranking."""
MOST = 500
"""Rows that one can go through from there."""


def look_at(crop: str, query: str, *, second: bool) -> None:
    """Write to the address which row is open."""
    links.put(**{LOOK: crop, OF: query, SIDE: "2" if second else None})


def close() -> None:
    """Take it out of the address."""
    links.put(**dict.fromkeys((LOOK, OF, SIDE)))


def show_open(desk: Desk, view: View, one: Opened, other: Opened | None) -> None:
    """Show the row that the address names, where it names one of the ranking."""
    crop = links.text(LOOK)
    which = other if other is not None and links.text(SIDE) else one
    number = which.judged.names.index(links.text(OF)).as_py()
    if not crop or number < 0:
        return
    (strip,) = strips(desk, which, [number], view.protocol, first=0, most=MOST)
    found = {row.crop: row.distance for row in strip.rows}
    if crop not in found:
        return
    if strip.crop is None:
        st.dialog("Result", on_dismiss=close)(_plain)(desk, view, crop)
        return
    sighting = None
    if which.ranking.settings.get("kind") == "tracklets":
        sighting = desk.index.find(strip.crop, which.ranking.model)
    views = desk.index.crops(sighting.id) if sighting is not None else [strip.crop]
    open_dialog(desk, Query(crops=tuple(views)), crop, model=which.ranking.model, on_close=close, found=found)


def _plain(desk: Desk, view: View, crop: str) -> None:
    """Of an image whose descriptor nobody kept, the crop alone."""
    with told():
        desk.audit_once("view", crop=crop)
        (row,) = pictures.facts(desk, [crop], model=view.ranking.model)
        st.image(pictures.crops(desk, [crop], model=view.ranking.model)[crop], width=160)
        st.caption(f"{plain(row['camera'])} · crop {crop}")
        st.link_button("Find with this crop", f"/find?crop={crop}", icon=":material/person_search:", type="tertiary")
