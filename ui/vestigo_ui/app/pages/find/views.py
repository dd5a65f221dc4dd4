"""Views of the query: those that are chosen, and the sightings of the archive to choose from."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from vestigo.retrieval.gallery import without_time_note
from vestigo.sightings.records import SightingFilter
from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.components.actions import UserAction, action_button
from vestigo_ui.app.components.choice import choose_page
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import hide_upload, load_crops, load_existing, load_facts
from vestigo_ui.app.pages.find.form import SearchForm, add_crops, query_crops, remove_view, reset_query, session_uploads
from vestigo_ui.app.pages.find.results import summarize_attributes
from vestigo_ui.app.pages.find.settings import choose_attributes, choose_cameras, choose_time
from vestigo_ui.app.text import count_text, escape_md, format_moment

QUERY_WIDTH, SIGHTING_WIDTH = 84, 116
PAGE = 48
REMOVE = Action(name="remove", label="Remove from the query", sign="✕", key="x")
ADD = Action(name="add", label="Add to the query and choose more", sign="+", key="a")
Views = Mapping[str, dict[str, Any]]
"""Facts (`images.FACTS`) of crops by id."""


def load_views(context: PageContext, model: Model) -> Views:
    """Return the crops that the address names and the store shows."""

    def load(crops: list[str]) -> Views:
        return {row["crop_id"]: row for row in load_facts(context, crops, model=model.digest)}

    return load_existing(load, list(query_crops()))


def show_query(context: PageContext, model: Model, views: Views) -> None:
    """Show the views of the query, with buttons that remove one or all."""
    for crop in query_crops():
        if crop not in views:
            st.warning(
                f"Crop {escape_md(crop)} is not in the store, or belongs to another model. It is omitted from the "
                "query.",
                icon=":material/link_off:",
            )
    images = load_crops(context, list(views), model=model.digest)
    tiles = [
        Tile(crop=crop, image=images[crop], title=row["camera"], hint=format_moment(row["time"], row["offset_s"]))
        for crop, row in views.items()
    ]
    tiles += [
        Tile(crop=digest, image=hide_upload(context, upload.image), title="Upload", hint="Only in this session")
        for digest, upload in session_uploads().items()
    ]
    if not tiles:
        st.caption("Choose a sighting, upload an image, or choose attributes.")
        return
    contact_sheet(
        tiles, key="find-query", label="The query", actions=[REMOVE], width=QUERY_WIDTH, on_action=_remove_view
    )
    action_button("New search", reset_query, key="new-search", icon=":material/restart_alt:", type="tertiary")


def _remove_view(action: UserAction) -> None:
    if action.action == "remove":
        remove_view(action.crop)


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
    tiles = [
        Tile(
            crop=sighting.crop,
            image=images[sighting.crop],
            title=sighting.camera,
            lines=(
                format_moment(sighting.time, sighting.offset_s, zone=False),
                count_text(sighting.crops, "crop") if sighting.crops > 1 else "",
            ),
            hint=summarize_attributes(sighting.attributes, sighting.confidences),
            selected=sighting.crop in form.crops,
        )
        for sighting in sightings
    ]
    options: dict[str, Any] = {"actions": [ADD], "width": SIGHTING_WIDTH, "on_action": _add_sighting}
    contact_sheet(tiles, key="find-picker", label="Sightings", **options)


def _add_sighting(action: UserAction) -> None:
    add_crops([action.crop])
    url_state.put(pane="archive" if action.action == "add" else None)
