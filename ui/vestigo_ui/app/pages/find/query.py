"""The query of page Find: the views of the person as a small sheet, to be taken out one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from vestigo.store.models.records import Model
from vestigo_models.errors import StoreError
from vestigo_ui.app import url_state
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import hide_upload, load_crops, load_facts
from vestigo_ui.app.pages.find import form as search_form
from vestigo_ui.app.text import escape_md, format_moment

WIDTH = 84
REMOVE = Action(name="remove", label="Take out of the query", sign="✕", key="x")


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views of the query that there are: `rows` (`FACT_COLUMNS` and `crop_id`) of stored crops, and `gone`, crops
    that the address names and the store does not show."""

    rows: tuple[dict[str, Any], ...]
    gone: tuple[str, ...]

    @property
    def crops(self) -> tuple[str, ...]:
        """The ids of the stored crops."""
        return tuple(row["crop_id"] for row in self.rows)


def views(context: PageContext, model: Model) -> Views:
    """Look up the crops that the address names."""
    asked = search_form.crops_asked()
    try:
        return Views(rows=tuple(load_facts(context, asked, model=model.digest)), gone=())
    except StoreError:
        found = {crop: _row(context, crop, model) for crop in asked}
    return Views(
        rows=tuple(row for row in found.values() if row is not None),
        gone=tuple(crop for crop, row in found.items() if row is None),
    )


def show_query(context: PageContext, model: Model, found: Views) -> None:
    """Show the views of the query; one is taken out, or all."""
    for crop in found.gone:
        st.warning(
            f"Crop {escape_md(crop)} is no longer in the store, or is of another model: the query goes on without it.",
            icon=":material/link_off:",
        )
    uploads = search_form.uploads()
    images = load_crops(context, found.crops, model=model.digest)
    tiles = [
        Tile(
            crop=row["crop_id"],
            image=images[row["crop_id"]],
            title=row["camera"],
            hint=format_moment(row["time"], row["offset_s"]),
        )
        for row in found.rows
    ]
    tiles += [
        Tile(crop=digest, image=hide_upload(context, one.image), title="Upload", hint="Only in this session")
        for digest, one in uploads.items()
    ]
    if not tiles:
        st.caption("Choose a sighting, upload a picture, or say what somebody looks like.")
        return
    chosen = contact_sheet(tiles, key="find-query", label="The query", actions=[REMOVE], width=WIDTH)
    if chosen is not None and chosen.action == "remove":
        search_form.leave(chosen.crop)
        st.rerun()
    st.button("New search", icon=":material/restart_alt:", key="find-new", on_click=_start_again, type="tertiary")


def _start_again() -> None:
    search_form.start_again()
    url_state.put(sheet=None)


def _row(context: PageContext, crop: str, model: Model) -> dict[str, Any] | None:
    try:
        return load_facts(context, [crop], model=model.digest)[0]
    except StoreError:
        return None
