"""The form that a reviewer fills in: made of an attribute schema for Label Studio, and read back from what it stores.

One group of choices an attribute, one picture a task. Names of the form are those of the schema, so an answer needs no
table to be understood, and a form that was edited by hand is recognised.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import Attribute, AttributeSchema

IMAGE = "image"
"""The field of a task with its picture."""
PICTURE = "picture"
"""What the form calls it."""
ABOUT, SAYS = "about", "says_"
"""The field with a line about the task, and the beginning of those with what the model says of an attribute."""
WIDE = 6
"""Values from which on an attribute has a row for itself."""
STYLE = """
.vestigo-groups { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 0 20px; }
.vestigo-wide { grid-column: 1 / -1; }
.vestigo h4 { margin: 8px 0 0 !important; font-size: 14px; line-height: 18px; }
.vestigo .lsf-choices { margin: 0; }
"""
_KEYS = "1234567890qwertyuiopasdfghjklzxcvbnm"
HOTKEYS = (*_KEYS, *(f"shift+{key}" for key in _KEYS))


def form(schema: AttributeSchema) -> str:
    """Label Studio's labelling configuration of a schema, XML.

    Above each group of values stands what the model says (`task_data`). Every value and every "cannot tell" has a key
    of its own, in reading order, as long as there are keys.
    """
    view = ElementTree.Element("View", className="vestigo")
    ElementTree.SubElement(view, "Style").text = STYLE
    shown = ElementTree.SubElement(view, "View", className="vestigo-shown")
    ElementTree.SubElement(shown, "Header", value=f"${ABOUT}", size="6")
    looks = {"zoom": "true", "zoomControl": "false", "rotateControl": "false", "maxHeight": "275px"}
    ElementTree.SubElement(shown, "Image", {"name": PICTURE, "value": f"${IMAGE}"} | looks)
    groups = ElementTree.SubElement(view, "View", className="vestigo-groups")
    keys = iter(HOTKEYS)
    for attribute in schema.attributes:
        wide = " vestigo-wide" if len(attribute.values) >= WIDE else ""
        part = ElementTree.SubElement(groups, "View", className=f"vestigo-group{wide}")
        ElementTree.SubElement(part, "Header", value=f"${SAYS}{attribute.name}", size="6")
        group = ElementTree.SubElement(
            part,
            "Choices",
            name=attribute.name,
            toName=PICTURE,
            choice="single-radio",
            showInline="true",
            required="true",
            requiredMessage=f"{attribute.title}: choose a value, or {CANNOT_TELL}",
        )
        for value in (*attribute.values, CANNOT_TELL):
            key = next(keys, None)
            ElementTree.SubElement(group, "Choice", {"value": value} | ({} if key is None else {"hotkey": key}))
    return ElementTree.tostring(view, encoding="unicode")


def task_data(schema: AttributeSchema, probabilities: NDArray[np.floating], image: str, context: str) -> dict[str, str]:
    """The fields of a task that the form shows: its picture, a line about it, what the model says of each attribute.

    probabilities: (M,) calibrated. image: what Label Studio shows (see `vestigo.review.label_studio.images`).
    """
    said = {f"{SAYS}{a.name}": _said(a, probabilities[schema.slice(a.name)]) for a in schema.attributes}
    return {IMAGE: image, ABOUT: context, **said}


def prediction(schema: AttributeSchema, probabilities: NDArray[np.floating], model: str) -> dict[str, Any]:
    """What a model says of a task, as Label Studio takes it: the likeliest value of each attribute, chosen beforehand.

    probabilities: (M,) calibrated; of two equal ones the first is chosen. The score of the whole is that of the
    attribute in most doubt.
    """
    result, scores = [], []
    for attribute in schema.attributes:
        shares = probabilities[schema.slice(attribute.name)]
        scores.append(float(shares.max()))
        result.append(
            {
                "from_name": attribute.name,
                "to_name": PICTURE,
                "type": "choices",
                "value": {"choices": [attribute.values[int(shares.argmax())]]},
                "score": scores[-1],
            }
        )
    return {"model_version": model, "score": min(scores), "result": result}


def answers(schema: AttributeSchema, result: list[dict[str, Any]]) -> dict[str, str]:
    """What a reviewer chose, attribute to value or `CANNOT_TELL`, from an annotation's `result`, open ones left out.

    Raises:
        ConfigError: an attribute or a value that the schema does not have: the form was edited by hand, or the schema
            has changed since.
    """
    found: dict[str, str] = {}
    for region in result:
        name, chosen = str(region.get("from_name")), region.get("value", {}).get("choices", [])
        if name not in schema.names:
            raise ConfigError(f"{name}: schema {schema.name} has no such attribute; push with the schema of this model")
        for value in chosen:
            if value != CANNOT_TELL and value not in schema[name].values:
                known = ", ".join(schema[name].values)
                raise ConfigError(f"{name}={value}: not one of {known}; push with the schema of this model")
            found[name] = value
    return found


def form_problem(schema: AttributeSchema, config: str) -> str | None:
    """In what a project's configuration is not the form of `schema`; None where its questions and answers are.

    Looks, headers and keys may be edited by hand; names, values and their kind may not.
    """
    try:
        view = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        return f"the configuration is no XML: {error}"
    if not any(image.get("name") == PICTURE and image.get("value") == f"${IMAGE}" for image in view.iter("Image")):
        return f"there is no image {PICTURE} that shows ${IMAGE}"
    groups = {str(group.get("name")): group for group in view.iter("Choices")}
    for attribute in schema.attributes:
        group = groups.pop(attribute.name, None)
        if group is None:
            return f"{attribute.name} is not asked for"
        if not str(group.get("choice", "single")).startswith("single"):
            return f"{attribute.name} takes several values"
        there, wanted = {str(choice.get("value")) for choice in group.iter("Choice")}, {*attribute.values, CANNOT_TELL}
        if there != wanted:
            gone, new = (", ".join(sorted(some)) or "none" for some in (wanted - there, there - wanted))
            return f"{attribute.name} has other values (missing: {gone}; unknown: {new})"
    return f"{min(groups)} is asked for and schema {schema.name} does not have it" if groups else None


def _said(attribute: Attribute, shares: NDArray[np.floating]) -> str:
    best = int(shares.argmax())
    return f"{attribute.title} · model: {attribute.values[best]} {100 * shares[best]:.0f} %"
