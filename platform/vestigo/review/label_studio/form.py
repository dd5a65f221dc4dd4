"""The labelling form of a schema for Label Studio, the task fields that it shows, and the parsing of its results.

The form has one group of choices for each attribute and one image for each task. Its names are those of the schema, so
results need no table, and a form that was edited by hand is detected.
"""

from typing import Any
from xml.etree import ElementTree

from vestigo.review.labels.agreement import CANNOT_TELL, predicted_value
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema

IMAGE_FIELD = "image"
IMAGE_TAG = "picture"  # name of the image in the form
CONTEXT_FIELD, PREDICTION_FIELD = "about", "says_"
"""Task fields with a line about the task, and (as a prefix) with the prediction of an attribute."""
WIDE_VALUES = 6  # an attribute with at least so many values has a row of its own
STYLE = """
.vestigo-groups { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 0 20px; }
.vestigo-wide { grid-column: 1 / -1; }
.vestigo h4 { margin: 8px 0 0 !important; font-size: 14px; line-height: 18px; }
.vestigo .lsf-choices { margin: 0; }
"""
_KEYS = "1234567890qwertyuiopasdfghjklzxcvbnm"
HOTKEYS = (*_KEYS, *(f"shift+{key}" for key in _KEYS))


def build_form(schema: AttributeSchema) -> str:
    """Return Label Studio's labelling configuration of a schema, XML.

    Each group of values has the prediction as its header (`build_task_data`). Values and "cannot tell" have hotkeys in
    reading order, as long as there are keys.
    """
    view = ElementTree.Element("View", className="vestigo")
    ElementTree.SubElement(view, "Style").text = STYLE
    shown = ElementTree.SubElement(view, "View", className="vestigo-shown")
    ElementTree.SubElement(shown, "Header", value=f"${CONTEXT_FIELD}", size="6")
    layout = {"zoom": "true", "zoomControl": "false", "rotateControl": "false", "maxHeight": "275px"}
    ElementTree.SubElement(shown, "Image", {"name": IMAGE_TAG, "value": f"${IMAGE_FIELD}"} | layout)
    groups = ElementTree.SubElement(view, "View", className="vestigo-groups")
    keys = iter(HOTKEYS)
    for attribute in schema.attributes:
        wide = " vestigo-wide" if len(attribute.values) >= WIDE_VALUES else ""
        part = ElementTree.SubElement(groups, "View", className=f"vestigo-group{wide}")
        ElementTree.SubElement(part, "Header", value=f"${PREDICTION_FIELD}{attribute.name}", size="6")
        group = ElementTree.SubElement(
            part,
            "Choices",
            name=attribute.name,
            toName=IMAGE_TAG,
            choice="single-radio",
            showInline="true",
            required="true",
            requiredMessage=f"{attribute.title}: choose a value, or {CANNOT_TELL}",
        )
        for value in (*attribute.values, CANNOT_TELL):
            key = next(keys, None)
            ElementTree.SubElement(group, "Choice", {"value": value} | ({} if key is None else {"hotkey": key}))
    return ElementTree.tostring(view, encoding="unicode")


def build_task_data(
    schema: AttributeSchema, probabilities: tuple[float, ...], image: str, context: str
) -> dict[str, str]:
    """Return the fields of a task that the form shows: the image, a line about it, and calibrated predictions (M,)."""
    data = {IMAGE_FIELD: image, CONTEXT_FIELD: context}
    for attribute in schema.attributes:
        value, confidence = predicted_value(schema, attribute.name, probabilities)
        data[f"{PREDICTION_FIELD}{attribute.name}"] = f"{attribute.title} · model: {value} {100 * confidence:.0f} %"
    return data


def build_prediction(schema: AttributeSchema, probabilities: tuple[float, ...], model: str) -> dict[str, Any]:
    """Return a prediction in Label Studio's format: the most likely value of each attribute, which the form preselects.

    `probabilities` (M,) are calibrated; the first of equal ones is selected. The score is the lowest confidence.
    """
    predictions = {name: predicted_value(schema, name, probabilities) for name in schema.names}
    result = [
        {"from_name": name, "to_name": IMAGE_TAG, "type": "choices", "value": {"choices": [value]}, "score": confidence}
        for name, (value, confidence) in predictions.items()
    ]
    return {"model_version": model, "score": min(score for _, score in predictions.values()), "result": result}


def parse_result(schema: AttributeSchema, result: list[dict[str, Any]]) -> dict[str, str]:
    """Return attribute to value or `CANNOT_TELL` from an annotation's `result`; ConfigError if the schema lacks it."""
    values: dict[str, str] = {}
    for region in result:
        name, choices = str(region.get("from_name")), region.get("value", {}).get("choices", [])
        if name not in schema.names:
            raise ConfigError(f"{name}: schema {schema.name} has no such attribute; push with the schema of this model")
        for value in choices:
            if value != CANNOT_TELL and value not in schema[name].values:
                known = ", ".join(schema[name].values)
                raise ConfigError(f"{name}={value}: not one of {known}; push with the schema of this model")
            values[name] = value
    return values


def form_problem(schema: AttributeSchema, config: str) -> str | None:
    """Return how a project's configuration differs from the form of `schema`, or None.

    Layout, headers and hotkeys may differ; names, values and their kind may not.
    """
    try:
        view = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        return f"the configuration is no XML: {error}"
    if (IMAGE_TAG, f"${IMAGE_FIELD}") not in [(image.get("name"), image.get("value")) for image in view.iter("Image")]:
        return f"there is no image {IMAGE_TAG} that shows ${IMAGE_FIELD}"
    groups = {str(group.get("name")): group for group in view.iter("Choices")}
    for attribute in schema.attributes:
        group = groups.pop(attribute.name, None)
        if group is None:
            return f"{attribute.name} is missing"
        if not str(group.get("choice", "single")).startswith("single"):
            return f"{attribute.name} takes several values"
        present = {str(choice.get("value")) for choice in group.iter("Choice")}
        wanted = {*attribute.values, CANNOT_TELL}
        if present != wanted:
            missing, unknown = (", ".join(sorted(values)) or "none" for values in (wanted - present, present - wanted))
            return f"{attribute.name} has other values (missing: {missing}; unknown: {unknown})"
    return f"{min(groups)} is not in schema {schema.name}" if groups else None
