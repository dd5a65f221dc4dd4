"""Correction of one sighting: its crops, a choice for each attribute, and earlier annotations."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.review.labels.agreement import CANNOT_TELL, predicted_value
from vestigo.review.labels.corrections import CORRECTION_COLUMNS, correct_sighting, correction_task, find_corrections
from vestigo.sightings.records import ALL_SIGHTINGS
from vestigo.store.models.records import Model
from vestigo.store.review.records import Annotation, LabelTask
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_ui.app.components.actions import action_button
from vestigo_ui.app.components.choice import back_button, choose_one, choose_page
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet, show_crops
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import load_crops, spread
from vestigo_ui.app.text import attribute_titles, count_text, escape_md, format_moment, format_utc
from vestigo_ui.web.auth.users import Role

PAGE = 48
STRIP = 24
"""Crops of a sighting that are shown, spread over its time."""
SAVED = "review-saved"
Rows = list[dict[str, Any]]


def show_correct(context: PageContext, model: Model, crop: str) -> None:
    """Show the sighting of a crop."""
    sighting = context.index.find(crop, model.digest)
    back_button("Back", "sighting", key="review-back", type="tertiary")
    schema = model.facts.attributes
    if sighting is None:
        st.warning(
            "There is no such sighting: it was indexed again, or the address is wrong.", icon=":material/link_off:"
        )
        return
    if schema is None:
        st.info("The model of the crops predicts no attributes, so there is nothing to correct.")
        return
    ids = context.index.crops(sighting.id)
    context.audit_once("view", what="sighting", crop=crop, crops=len(ids))
    rows = context.index.rows(ids, CORRECTION_COLUMNS, model=model.digest)
    st.markdown(
        f"**{escape_md(sighting.camera)}**, {format_moment(sighting.time, sighting.offset_s)} · "
        f"{count_text(len(ids), 'crop')}"
    )
    _show_crops(context, model, ids)
    held = find_corrections(context.store, model, rows)
    if message := st.session_state.pop(SAVED, None):
        st.success(message, icon=":material/check_circle:")
    if context.may(Role.REVIEWER):
        _show_form(context, model, schema, rows, held, crop)
    else:
        st.caption("A reviewer can correct the predictions.")
        prediction = correction_task(rows).prediction
        titles = attribute_titles(schema)
        predicted = [(title, *predicted_value(schema, name, prediction)) for name, title in titles.items()]
        frame = pd.DataFrame(predicted, columns=["Attribute", "Predicted", "Confidence (%)"])
        frame["Confidence (%)"] = (100 * frame["Confidence (%)"]).round(1)
        show_table(context, frame, name="predicted", title="Predicted attributes")
    _show_annotations(context, schema, held)


def save(context: PageContext, model: Model, rows: Rows, values: Mapping[str, str]) -> LabelTask:
    """Record the user's annotation of a sighting; raises UsageError unless the user is a reviewer."""
    context.require(Role.REVIEWER, "A correction")
    return correct_sighting(
        context.store, model, rows, values, user=context.user.name, case=context.case, authority=context.authority
    )


def _show_crops(context: PageContext, model: Model, ids: list[str]) -> None:
    shown = spread(ids, STRIP)
    images = load_crops(context, shown, model=model.digest)
    tiles = [Tile(crop=crop, image=images[crop]) for crop in shown]
    contact_sheet(tiles, key="review-strip", label="Crops of this sighting", width=96)
    if len(shown) < len(ids):
        st.caption(f"{len(shown):,} of {len(ids):,} crops are shown.")


def _show_form(
    context: PageContext, model: Model, schema: AttributeSchema, rows: Rows, held: tuple[Annotation, ...], crop: str
) -> None:
    own = next((annotation.answers for annotation in held if annotation.annotator == context.user.name), {})
    prediction = correction_task(rows).prediction
    keys = {attribute.name: f"review-answer-{crop}-{attribute.name}" for attribute in schema.attributes}

    def saved() -> None:
        values = {name: str(st.session_state[key]) for name, key in keys.items() if key in st.session_state}
        if len(values) < len(keys):
            raise UsageError("The sighting was left before the choices were saved. Open it and save again.")
        save(context, model, rows, values)
        changed = sum(value != predicted_value(schema, name, prediction)[0] for name, value in values.items())
        st.session_state[SAVED] = f"Saved: {changed:,} of {len(values):,} attributes differ from the predictions."

    with st.container(border=True):
        columns = st.columns(3, gap="medium")
        for place, attribute in enumerate(schema.attributes):
            value, share = predicted_value(schema, attribute.name, prediction)
            choices = [*attribute.values, CANNOT_TELL]
            with columns[place % len(columns)]:
                st.selectbox(
                    f"{escape_md(attribute.title.capitalize())}: {escape_md(value)}, {share:.1%}",
                    choices,
                    choices.index(own.get(attribute.name, value)),
                    key=keys[attribute.name],
                )
        st.caption(f"Saving confirms every choice, also those that {escape_md(model.name)} predicted.")
        options = {"type": "primary", "icon": ":material/save:", "shortcut": "Alt+S"}
        action_button("Save", saved, key=f"correct-{crop}", **options)


def _show_annotations(context: PageContext, schema: AttributeSchema, held: tuple[Annotation, ...]) -> None:
    if not held:
        st.caption("This sighting has no corrections yet.")
        return
    rows: list[dict[str, str | None]] = [
        {
            "Annotator": annotation.annotator,
            "When (UTC)": format_utc(annotation.answered),
            **{attribute.title.capitalize(): annotation.answers.get(attribute.name) for attribute in schema.attributes},
        }
        for annotation in held
    ]
    frame = pd.DataFrame(rows)
    show_table(context, frame, name="corrections", title="Corrections of a sighting")


def show_sightings(context: PageContext, model: Model) -> None:
    """Show the sightings; a click opens one."""
    schema = model.facts.attributes
    if schema is None:
        st.info("The model of the crops predicts no attributes, so there is nothing to correct.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = choose_one("Attribute", attribute_titles(schema), "attribute", width=200)
        st.caption("Lowest confidence first; a click opens a sighting to correct it.", width="content")
    total = context.index.count(model.digest)
    page = choose_page(total, PAGE)
    sightings = context.index.by_confidence(
        model.digest, ALL_SIGHTINGS, name, first="least", offset=page * PAGE, limit=PAGE
    )
    ids = [sighting.crop for sighting in sightings]
    context.audit_once("view", what="sightings to correct", attribute=name, page=page + 1, shown=ids)
    texts = {
        sighting.crop: (
            sighting.camera,
            f"{sighting.attributes[name]}, {sighting.confidences[name]:.0%}",
            format_moment(sighting.time, sighting.offset_s, zone=False),
        )
        for sighting in sightings
    }
    options: dict[str, Any] = {"key": "review-pick", "label": "Sightings", "width": 116}
    show_crops(context, texts, "sighting", model=model.digest, **options)
