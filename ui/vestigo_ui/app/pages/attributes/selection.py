"""What page Attributes is about, as its address has it: a model, a camera, an attribute, how sure is sure enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from vestigo.review.estimates.precision import UNDECIDABLE
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.models.records import Model
from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.context import PageContext

EVERYWHERE, ANY = "", ""
"""In place of a camera and of a value."""
BETWEEN = "~"
SHORT = 8
"""Digits of a digest that tell two models of one name apart."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One choice; `camera` may be `EVERYWHERE` and `value` `ANY`, `sure` is a fraction of 1."""

    model: Model
    schema: AttributeSchema
    camera: str
    attribute: Attribute
    value: str
    sure: float

    @property
    def cameras(self) -> tuple[str, ...] | None:
        """The cameras that are meant, None for all."""
        return (self.camera,) if self.camera else None


def chosen(context: PageContext, models: Sequence[Model]) -> View:
    """Offer models (with attributes), cameras, attributes and values; return what is chosen."""
    names = {model.digest: f"{model.name} ({model.digest[:SHORT]})" for model in models}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        digest = choose_one(
            "Model", list(names), "model", format_func=names.__getitem__, clear=("page", "crop", "cell"), width=200
        )
        model = next(model for model in models if model.digest == digest)
        schema = model.facts.attributes
        assert schema is not None
        cameras = [camera.name for camera in context.index.cameras(digest)]
        camera = choose_one(
            "Camera",
            [EVERYWHERE, *cameras],
            "camera",
            format_func=lambda one: one or "All cameras",
            clear=(
                "page",
                "crop",
            ),
            width=160,
        )
        titles = {attribute.name: attribute.title.capitalize() for attribute in schema.attributes}
        name = choose_one(
            "Attribute",
            list(titles),
            "attribute",
            format_func=titles.__getitem__,
            clear=("page", "crop", "value", "cell"),
            width=190,
        )
        attribute = schema[name]
        value = choose_one(
            "Value",
            [ANY, *attribute.values],
            "value",
            format_func=lambda one: one.capitalize() or "Any value",
            clear=(
                "page",
                "crop",
            ),
            width=140,
        )
    return View(
        model=model,
        schema=schema,
        camera=camera,
        attribute=attribute,
        value=value,
        sure=round(url_state.fraction("sure", 0.0), 2),
    )


def start_again(**values: str | int | float | None) -> None:
    """Write parameters to the address, where the sheet then begins with its first page and nothing is open."""
    url_state.put(**(dict.fromkeys(("page", "crop")) | values))


def indexed(context: PageContext) -> tuple[str, int]:
    """What names the archive as the index has it: another one while it lacks crops, and once it has them."""
    return context.index.snapshot, context.index.pending()


def cells(attribute: Attribute) -> dict[str, tuple[int, int]]:
    """How an address names the crops of a predicted and an answered value, and their classes (or `CANNOT_TELL`)."""
    answers = (*enumerate(attribute.values), (UNDECIDABLE, CANNOT_TELL))
    return {
        f"{value}{BETWEEN}{answer}": (said, told)
        for said, value in enumerate(attribute.values)
        for told, answer in answers
    }
