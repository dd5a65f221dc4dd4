"""Query of page Find: the views of the person, which can be removed one by one."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from vestigo.store.models.records import Model
from vestigo_models.errors import StoreError
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import hide_upload, load_crops, load_facts
from vestigo_ui.app.pages.find.form import query_crops, remove_view, reset_query, session_uploads
from vestigo_ui.app.text import escape_md, format_moment

WIDTH = 84
REMOVE = Action(name="remove", label="Remove from the query", sign="✕", key="x")


@dataclass(frozen=True, kw_only=True)
class QueryViews:
    """Crops that the address names: `rows` (`images.FACTS`) of visible ones, `missing` ids of the others."""

    rows: tuple[dict[str, Any], ...]
    missing: tuple[str, ...] = ()

    @property
    def crops(self) -> tuple[str, ...]:
        """Ids of the visible crops."""
        return tuple(row["crop_id"] for row in self.rows)


def load_views(context: PageContext, model: Model) -> QueryViews:
    """Return the crops that the address names."""
    crops = query_crops()
    try:
        return QueryViews(rows=tuple(load_facts(context, crops, model=model.digest)))
    except StoreError:
        rows = {crop: _load_row(context, crop, model) for crop in crops}
    return QueryViews(
        rows=tuple(row for row in rows.values() if row is not None),
        missing=tuple(crop for crop, row in rows.items() if row is None),
    )


def show_query(context: PageContext, model: Model, views: QueryViews) -> None:
    """Show the views of the query, with buttons that remove one or all."""
    for crop in views.missing:
        st.warning(
            f"Crop {escape_md(crop)} is not in the store, or belongs to another model. It is omitted from the query.",
            icon=":material/link_off:",
        )
    images = load_crops(context, views.crops, model=model.digest)
    tiles = [
        Tile(
            crop=row["crop_id"],
            image=images[row["crop_id"]],
            title=row["camera"],
            hint=format_moment(row["time"], row["offset_s"]),
        )
        for row in views.rows
    ]
    tiles += [
        Tile(crop=digest, image=hide_upload(context, upload.image), title="Upload", hint="Only in this session")
        for digest, upload in session_uploads().items()
    ]
    if not tiles:
        st.caption("Choose a sighting, upload an image, or choose attributes.")
        return
    contact_sheet(tiles, key="find-query", label="The query", actions=[REMOVE], width=WIDTH, on_action=_remove_view)
    st.button("New search", icon=":material/restart_alt:", key="find-new", on_click=reset_query, type="tertiary")


def _remove_view(action: UserAction) -> None:
    if action.action == "remove":
        remove_view(action.crop)


def _load_row(context: PageContext, crop: str, model: Model) -> dict[str, Any] | None:
    try:
        return load_facts(context, [crop], model=model.digest)[0]
    except StoreError:
        return None
