"""Sampled people have the marginals and correlations of the public Market-1501 annotation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat

from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.people import sample_person
from vestigo_models.synthetic.presets import PRESETS, Preset

SAMPLES = 5000


@pytest.fixture(scope="module")
def sampled() -> Any:
    rng = np.random.default_rng(5)
    return np.stack([at.sample_labels(rng) for _ in range(SAMPLES)])


@pytest.fixture(scope="module")
def real(real_data: Path) -> Any:
    root = loadmat(real_data / "market_attribute.mat")["market_attribute"][0, 0]
    parts = []
    for split in ("train", "test"):
        table = root[split][0, 0]
        columns = []
        for attribute in MARKET_1501.attributes:
            fields = np.stack([table[field].ravel().astype(int) for field in attribute.fields])
            yes = fields == 2
            columns.append(np.where(yes.any(0), yes.argmax(0), -1) if attribute.multi_field else fields[0] - 1)
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)


def test_columns_follow_the_schema() -> None:
    names = [name.upper() for name in MARKET_1501.names]
    assert [getattr(at, name) for name in names] == list(range(12))
    assert MARKET_1501.attributes[at.UPPER_COLOUR].values == at.UPPER_COLOURS
    assert MARKET_1501.attributes[at.LOWER_COLOUR].values == at.LOWER_COLOURS


def test_marginals_match_the_real_set(sampled: Any, real: Any) -> None:
    for column, attribute in enumerate(MARKET_1501.attributes):
        for value in range(-1, len(attribute.values)):
            share, truth = np.mean(sampled[:, column] == value), np.mean(real[:, column] == value)
            assert share == pytest.approx(truth, abs=0.03), (attribute.name, value)


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ((at.HAIR, 1), (at.GENDER, at.FEMALE)),
        ((at.HAIR, 1), (at.GENDER, at.MALE)),
        ((at.LOWER_TYPE, at.DRESS), (at.GENDER, at.FEMALE)),
        ((at.LOWER_TYPE, at.DRESS), (at.GENDER, at.MALE)),
        ((at.BAG, 1), (at.GENDER, at.FEMALE)),
        ((at.BACKPACK, 1), (at.AGE, at.ADULT)),
        ((at.LOWER_LENGTH, 0), (at.AGE, at.ADULT)),
        ((at.LOWER_LENGTH, 1), (at.LOWER_TYPE, at.DRESS)),
        ((at.HANDBAG, 1), (at.BAG, 1)),
        ((at.LOWER_COLOUR, 2), (at.GENDER, at.MALE)),
    ],
)
def test_correlations_match_the_real_set(sampled: Any, real: Any, value: Any, given: Any) -> None:
    def conditional(rows: Any) -> Any:
        chosen = rows[rows[:, given[0]] == given[1]]
        return np.mean(chosen[:, value[0]] == value[1])

    assert conditional(sampled) == pytest.approx(conditional(real), abs=0.05)


def test_variety_makes_rare_values_common() -> None:
    rng = np.random.default_rng(1)
    rows = np.stack([at.sample_labels(rng, variety=0.8) for _ in range(400)])
    assert np.mean(rows[:, at.HAT] == 1) > 0.25
    assert np.mean(rows[:, at.SLEEVE] == 0) > 0.25
    assert not np.any((rows[:, at.GENDER] == at.MALE) & (rows[:, at.LOWER_TYPE] == at.DRESS))


def test_garment_colours_match_their_names() -> None:
    """The main colour of a garment, converted to HSV by other code, is in the range of its name."""
    import colorsys

    rng = np.random.default_rng(2)
    for _ in range(300):
        person = sample_person(rng)
        label = person.labels[at.UPPER_COLOUR]
        if label < 0:
            continue
        name = at.UPPER_COLOURS[label]
        r, g, b = (float(c) ** (1 / 2.2) for c in person.materials[2].colour)
        hue, saturation, value = colorsys.rgb_to_hsv(r, g, b)
        hue *= 360
        expected = {
            "black": value < 0.22,
            "white": value > 0.75 and saturation < 0.15,
            "gray": 0.24 < value < 0.7 and saturation < 0.2,
            "red": (hue < 15 or hue > 335) and saturation > 0.35,
            "purple": 255 < hue < 320,
            "blue": 195 < hue < 245,
            "green": 70 < hue < 170,
            "yellow": 38 < hue < 62 and saturation > 0.25,
        }
        assert expected[name], (name, hue, saturation, value)


def test_preset_of_the_ablation_is_unchanged() -> None:
    assert PRESETS["bench-1"] == Preset(
        name="bench-1",
        identities=320,
        cameras=4,
        images_per_camera=3,
        person_pixels=(95.0, 190.0),
        variety=0.0,
        occluded=0.05,
        crowded=0.05,
        sloppiness=0.4,
        degradation=0.4,
    )
