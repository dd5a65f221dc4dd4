"""Selection of page Attributes, held by the address: model, camera, attribute, value and confidence."""

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
from vestigo_ui.app.text import attribute_titles

ALL_CAMERAS, ANY_VALUE = "", ""
SEPARATOR = "~"
"""Separates the predicted value from the label in the address of a cell."""
DIGEST_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class AttributesSelection:
    """What the page shows: a model with its schema, a camera or `ALL_CAMERAS`, an attribute and a value or `ANY_VALUE`.

    `confidence` is the least confidence of predictions, in [0, 1].
    """

    model: Model
    schema: AttributeSchema
    camera: str
    attribute: Attribute
    value: str
    confidence: float

    @property
    def cameras(self) -> tuple[str, ...] | None:
        """The selected cameras, None for all."""
        return (self.camera,) if self.camera else None

    @property
    def measure(self) -> str:
        """Name of the estimated share: precision of a value, or accuracy."""
        return f"Precision of {self.value}" if self.value else "Accuracy"


def choose_attribute(context: PageContext, models: Sequence[Model]) -> AttributesSelection:
    """Show choices of model (with attributes), camera, attribute and value; return the selection."""
    names = {model.digest: f"{model.name} ({model.digest[:DIGEST_DIGITS]})" for model in models}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        digest = choose_one("Model", names, "model", clear=("page", "crop", "cell"), width=200)
        model = next(model for model in models if model.digest == digest)
        schema = model.facts.attributes
        assert schema is not None
        cameras = {ALL_CAMERAS: "All cameras"} | {camera.name: camera.name for camera in context.index.cameras(digest)}
        camera = choose_one("Camera", cameras, "camera", clear=("page", "crop"), width=160)
        clear = ("page", "crop", "value", "cell")
        name = choose_one("Attribute", attribute_titles(schema), "attribute", clear=clear, width=190)
        values = {ANY_VALUE: "Any value"} | {value: value.capitalize() for value in schema[name].values}
        value = choose_one("Value", values, "value", clear=("page", "crop"), width=140)
    return AttributesSelection(
        model=model,
        schema=schema,
        camera=camera,
        attribute=schema[name],
        value=value,
        confidence=round(url_state.fraction("sure", 0.0), 2),
    )


def restart_sheet(**values: str | int | float | None) -> None:
    """Write parameters to the address, go to the first page of the contact sheet and close the open crop."""
    url_state.put(**(dict.fromkeys(("page", "crop")) | values))


def cell_classes(attribute: Attribute) -> dict[str, tuple[int, int]]:
    """Return the predicted class and the label (or `UNDECIDABLE`) of each cell by its name in the address."""
    labels = (*enumerate(attribute.values), (UNDECIDABLE, CANNOT_TELL))
    return {
        f"{value}{SEPARATOR}{text}": (predicted, label)
        for predicted, value in enumerate(attribute.values)
        for label, text in labels
    }
