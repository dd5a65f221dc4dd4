"""The labelling form, and the parsing of its results."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest

from vestigo.review.label_studio.form import (
    IMAGE_TAG,
    build_form,
    build_prediction,
    build_task_data,
    form_problem,
    parse_result,
)
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

SCHEMAS = [MARKET_1501, DUKEMTMC_REID]


def chosen(name: str, *values: str) -> dict[str, object]:
    return {"from_name": name, "to_name": IMAGE_TAG, "type": "choices", "value": {"choices": list(values)}}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_form_has_all_values_with_hotkeys(schema: AttributeSchema) -> None:
    view = ElementTree.fromstring(build_form(schema))
    groups = list(view.iter("Choices"))
    assert [group.get("name") for group in groups] == list(schema.names)
    for group, attribute in zip(groups, schema.attributes, strict=True):
        assert [choice.get("value") for choice in group] == [*attribute.values, CANNOT_TELL]
        assert group.get("toName") == IMAGE_TAG
        assert group.get("choice") == "single-radio"
    keys = [choice.get("hotkey") for choice in view.iter("Choice")]
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_prediction_selects_most_likely_values_and_lowest_score() -> None:
    shares = np.concatenate([[0.01] * (len(a.values) - 1) + [0.9] for a in MARKET_1501.attributes])
    shares[MARKET_1501.slice("hair")] = 0.5
    prediction = build_prediction(MARKET_1501, tuple(shares.tolist()), "tiny-1")
    assert prediction["model_version"] == "tiny-1"
    assert prediction["score"] == 0.5
    assert parse_result(MARKET_1501, prediction["result"]) == {
        a.name: "short" if a.name == "hair" else a.values[-1] for a in MARKET_1501.attributes
    }


def test_task_data_shows_predictions() -> None:
    shares = np.concatenate([[0.004] * (len(a.values) - 1) + [0.926] for a in MARKET_1501.attributes])
    data = build_task_data(MARKET_1501, tuple(shares.tolist()), "data:,", "c1 · t4")
    assert (data["image"], data["about"]) == ("data:,", "c1 · t4")
    assert data["says_gender"] == "Gender · model: female 93 %"
    view = ElementTree.fromstring(build_form(MARKET_1501))
    shown = [header.get("value") for header in view.iter("Header")]
    assert shown == ["$about", *(f"$says_{name}" for name in MARKET_1501.names)]
    # Every variable of the form is a field of the task, as Label Studio demands.
    assert {str(value)[1:] for value in (*shown, *(image.get("value") for image in view.iter("Image")))} == data.keys()


def test_parse_result_keeps_cannot_tell_and_skips_open_attributes() -> None:
    result = [chosen("hat", CANNOT_TELL), chosen("gender", "female"), chosen("bag")]
    assert parse_result(MARKET_1501, result) == {"hat": CANNOT_TELL, "gender": "female"}


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (chosen("shoes", "black"), "shoes: schema market-1501 has no such attribute"),
        (chosen("hat", "maybe"), "hat=maybe: not one of no, yes"),
    ],
)
def test_parse_result_rejects_unknown_values(result: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        parse_result(MARKET_1501, [result])


def test_form_problem_ignores_layout() -> None:
    mine = build_form(MARKET_1501)
    assert form_problem(MARKET_1501, mine) is None
    assert (
        form_problem(
            MARKET_1501, mine.replace('size="6"', 'size="3"').replace("$says_hat", "Hat?").replace('hotkey="1"', "")
        )
        is None
    )
    edits = {
        "is no XML": mine[:-3],
        "no image picture": mine.replace("$image", "$photo"),
        "hat is missing": mine.replace('name="hat"', 'name="cap"'),
        "gender takes several values": mine.replace('choice="single-radio"', 'choice="multiple"', 1),
        "gender has other values (missing: male; unknown: man)": mine.replace('value="male"', 'value="man"'),
        "shoes is not in schema market-1501": mine.replace(
            "</View>", '<Choices name="shoes" toName="picture" /></View>'
        ),
    }
    for line, edited in edits.items():
        assert edited != mine
        assert line in str(form_problem(MARKET_1501, edited)), line
    renamed = dataclasses.replace(MARKET_1501["hat"], name="headwear")
    schema = AttributeSchema("own", tuple(renamed if a.name == "hat" else a for a in MARKET_1501.attributes))
    assert form_problem(schema, mine) == "headwear is missing"
