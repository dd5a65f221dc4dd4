"""Choice of query crops among the sightings of the archive."""

import streamlit as st

from vestigo.retrieval.gallery import without_time_note
from vestigo.sightings.records import Sighting, SightingFilter
from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, load_crops
from vestigo_ui.app.pages.find.form import SearchForm, add_crops
from vestigo_ui.app.pages.find.results import summarize_attributes
from vestigo_ui.app.pages.find.settings import choose_attributes, choose_cameras, choose_time
from vestigo_ui.app.text import count_text, format_moment

PAGE = 48
WIDTH = 116
ADD = Action(name="add", label="Add to the query and choose more", sign="+", key="a")


def show_picker(context: PageContext, model: Model, form: SearchForm) -> None:
    """Show the sightings that the address selects; a click adds one to the query."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        cameras = choose_cameras(context, "Seen by", "camera")
        since, until = choose_time("from", "to")
        schema = model.facts.attributes
        where = choose_attributes(schema, "wearing", "Looking like") if schema is not None else ""
    choice = SightingFilter(cameras=cameras, since=since, until=until, where=where)
    count = context.index.count(model.digest, choice)
    if note := without_time_note(context.index.count_without_time(model.digest, choice), "sighting"):
        st.warning(f"{note}.", icon=":material/schedule:")
    if not count:
        st.info("There is no such sighting. Choose other cameras, another time or fewer attributes.")
        return
    page = choose_page(count, PAGE, name="sheet")
    sightings = context.index.page(model.digest, choice, offset=page * PAGE, limit=PAGE)
    crops = [sighting.crop for sighting in sightings]
    context.audit_once("view", what="sightings", page=page + 1, shown=crops)
    images = load_crops(context, crops, model=model.digest)
    st.caption(
        f"{count_text(count, 'sighting')} · {'a click adds to the query' if form.has_views else 'a click searches'}"
    )
    tiles = [_tile(sighting, images[sighting.crop], form) for sighting in sightings]
    contact_sheet(tiles, key="find-picker", label="Sightings", actions=[ADD], width=WIDTH, on_action=_add_sighting)


def _add_sighting(action: UserAction) -> None:
    add_crops([action.crop])
    url_state.put(pane="archive" if action.action == "add" else None)


def _tile(sighting: Sighting, image: Image, form: SearchForm) -> Tile:
    crops = count_text(sighting.crops, "crop") if sighting.crops > 1 else ""
    return Tile(
        crop=sighting.crop,
        image=image,
        title=sighting.camera,
        lines=(format_moment(sighting.time, sighting.offset_s, zone=False), crops),
        hint=summarize_attributes(sighting.attributes, sighting.confidences),
        selected=sighting.crop in form.crops,
    )
