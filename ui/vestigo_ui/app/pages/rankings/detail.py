"""A row of a ranking in depth, above the page."""

from __future__ import annotations

import streamlit as st

from vestigo.retrieval.query import Query
from vestigo_ui.app import url_state
from vestigo_ui.app.components.result.dialog import LOOK, AnsweredQuery, open_dialog
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.images import load_crops, load_facts
from vestigo_ui.app.pages.rankings.rows import strips
from vestigo_ui.app.pages.rankings.scores import ScoredRanking
from vestigo_ui.app.pages.rankings.selection import View
from vestigo_ui.app.text import escape_md

OF, SIDE = "of", "side"
"""The parameters that name the query whose row is open, and that it is a row of the second ranking."""
MOST = 500
"""Rows that one can go through from there."""


def look_at(crop: str, query: str, *, second: bool) -> None:
    """Write to the address which row is open."""
    url_state.put(**{LOOK: crop, OF: query, SIDE: "2" if second else None})


def close() -> None:
    """Take it out of the address."""
    url_state.put(**dict.fromkeys((LOOK, OF, SIDE)))


def show_open(context: PageContext, view: View, one: ScoredRanking, other: ScoredRanking | None) -> None:
    """Show the row that the address names, where it names one of the ranking."""
    crop = url_state.text(LOOK)
    which = other if other is not None and url_state.text(SIDE) else one
    number = which.judged.names.index(url_state.text(OF)).as_py()
    if not crop or number < 0:
        return
    (strip,) = strips(context, which, [number], view.protocol, first=0, most=MOST)
    found = {row.crop: row.distance for row in strip.rows}
    if crop not in found:
        return
    if strip.crop is None:
        st.dialog("Result", on_dismiss=close)(_plain)(context, view, crop)
        return
    sighting = None
    if which.ranking.settings.get("kind") == "tracklets":
        sighting = context.index.find(strip.crop, which.ranking.model)
    views = context.index.crops(sighting.id) if sighting is not None else [strip.crop]
    answered = AnsweredQuery(query=Query(crops=tuple(views)), model=which.ranking.model, distances=found)
    open_dialog(context, answered, crop, on_close=close)


def _plain(context: PageContext, view: View, crop: str) -> None:
    """Of an image whose descriptor nobody kept, the crop alone."""
    with report_errors():
        context.audit_once("view", crop=crop)
        (row,) = load_facts(context, [crop], model=view.ranking.model)
        st.image(load_crops(context, [crop], model=view.ranking.model)[crop], width=160)
        st.caption(f"{escape_md(row['camera'])} · crop {crop}")
        st.link_button("Find with this crop", f"/find?crop={crop}", icon=":material/person_search:", type="tertiary")
