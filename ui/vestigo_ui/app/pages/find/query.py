"""The query of page Find: the views of the person as a small sheet, to be taken out one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from vestigo.store.models.records import Model
from vestigo_models.errors import StoreError
from vestigo_ui.app import images as pictures
from vestigo_ui.app import url_state as links
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.context import Desk
from vestigo_ui.app.pages.find import form as find_asked
from vestigo_ui.app.text import moment, plain

WIDTH = 84
REMOVE = Action(name="remove", label="Take out of the query", sign="✕", key="x")


@dataclass(frozen=True, kw_only=True)
class Views:
    """The views of the query that there are: `rows` (`pictures.FACTS` and `crop_id`) of stored crops, and `gone`, crops
    that the address names and the store does not show."""

    rows: tuple[dict[str, Any], ...]
    gone: tuple[str, ...]

    @property
    def crops(self) -> tuple[str, ...]:
        """The ids of the stored crops."""
        return tuple(row["crop_id"] for row in self.rows)


def views(desk: Desk, model: Model) -> Views:
    """Look up the crops that the address names."""
    asked = find_asked.crops_asked()
    try:
        return Views(rows=tuple(pictures.facts(desk, asked, model=model.digest)), gone=())
    except StoreError:
        found = {crop: _row(desk, crop, model) for crop in asked}
    return Views(
        rows=tuple(row for row in found.values() if row is not None),
        gone=tuple(crop for crop, row in found.items() if row is None),
    )


def show_query(desk: Desk, model: Model, found: Views) -> None:
    """Show the views of the query; one is taken out, or all."""
    for crop in found.gone:
        st.warning(
            f"Crop {plain(crop)} is no longer in the store, or is of another model: the query goes on without it.",
            icon=":material/link_off:",
        )
    uploads = find_asked.uploads()
    images = pictures.crops(desk, found.crops, model=model.digest)
    tiles = [
        Tile(
            crop=row["crop_id"],
            image=images[row["crop_id"]],
            title=row["camera"],
            hint=moment(row["time"], row["offset_s"]),
        )
        for row in found.rows
    ]
    tiles += [
        Tile(crop=digest, image=pictures.upload(desk, one.image), title="Upload", hint="Only in this session")
        for digest, one in uploads.items()
    ]
    if not tiles:
        st.caption("Choose a sighting, upload a picture, or say what somebody looks like.")
        return
    chosen = contact_sheet(tiles, key="find-query", label="The query", actions=[REMOVE], width=WIDTH)
    if chosen is not None and chosen.action == "remove":
        find_asked.leave(chosen.crop)
        st.rerun()
    st.button("New search", icon=":material/restart_alt:", key="find-new", on_click=_start_again, type="tertiary")


def _start_again() -> None:
    find_asked.start_again()
    links.put(sheet=None)


def _row(desk: Desk, crop: str, model: Model) -> dict[str, Any] | None:
    try:
        return pictures.facts(desk, [crop], model=model.digest)[0]
    except StoreError:
        return None
