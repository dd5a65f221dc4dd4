"""Clothes of the realistic preset: labels that hold in the pixels, and pixels that depend on the seed only."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from vestigo_models.schemas.regions import LOWER, UPPER
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.crops import render_crop
from vestigo_models.synthetic.geometry.body import Pose, pose_body
from vestigo_models.synthetic.geometry.raycast import Raster, Viewpoint, cast_rays
from vestigo_models.synthetic.materials.clothes import BodyPart
from vestigo_models.synthetic.materials.shading import surface
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World

SMALL = dataclasses.replace(PRESETS["real"], frame_height=240, frame_width=320, person_pixels=(40.0, 120.0), scenes=2)
EYE = Viewpoint(np.array([0, 1.2, 0], np.float32), np.eye(3, dtype=np.float32), 400.0, (160.0, 120.0))


@pytest.fixture(scope="module")
def world() -> Any:
    return World(SMALL, seed=11, identities=60, cameras=2)


def albedo(person: Any, region: int, *parts: BodyPart) -> Any:
    """Return the albedo of the samples of a region and body parts, from the front, both sides and the back."""
    values = []
    for heading in np.arange(4) * np.pi / 2:
        body = pose_body(person, Pose(x=0.0, z=6.0, heading=float(heading), phase=0.4, walking=0.3))
        x0, y0, x1, y1 = body.box(EYE)
        hits = cast_rays(body.solids, EYE, Raster(x0, y0, x1 - x0, y1 - y0, 96, 48))
        seen = surface(person, body, hits)
        chosen = (seen.region == region) & np.isin(body.solids.material[hits.solid], parts)
        values.append(seen.albedo[chosen])
    return np.concatenate(values)


def near(colours: Any, main: Any) -> Any:
    """Return which linear colours look like `main`: close in every display channel."""
    return (np.abs(np.clip(colours, 0, 1) ** (1 / 2.2) - np.asarray(main) ** (1 / 2.2)) < 0.16).all(axis=1)


@pytest.mark.parametrize(
    ("region", "parts", "label"),
    [(UPPER, (BodyPart.UPPER, BodyPart.SLEEVE), at.UPPER_COLOUR), (LOWER, (BodyPart.LOWER,), at.LOWER_COLOUR)],
)
def test_labelled_colour_covers_most_of_the_garment(world: Any, region: int, parts: Any, label: int) -> None:
    shares = []
    for person in world.people:
        if person.labels[label] < 0:
            continue
        colours, main = albedo(person, region, *parts), person.materials[parts[0]].colour
        shares.append(near(colours, main).mean())
    assert np.median(shares) > 0.75
    assert np.mean(np.array(shares) > 0.4) > 0.93


def test_garment_colour_has_the_name_of_its_label(world: Any) -> None:
    for person in world.people:
        for part, column, names in (
            (BodyPart.UPPER, at.UPPER_COLOUR, at.UPPER_COLOURS),
            (BodyPart.LOWER, at.LOWER_COLOUR, at.LOWER_COLOURS),
        ):
            if person.labels[column] < 0:
                continue
            shown = person.materials[part].colour ** (1 / 2.2)
            low, high, name = shown.min(), shown.max(), names[person.labels[column]]
            if name in ("black", "white", "gray"):
                assert high - low < 0.17
                assert {"black": high < 0.22, "white": low > 0.65, "gray": 0.2 < high < 0.7}[name]
            else:
                assert high - low > 0.04, name


def test_one_piece_dress_has_one_colour(world: Any) -> None:
    dresses = 0
    for person in World(SMALL, seed=12, identities=150, cameras=1).people:
        if person.materials[BodyPart.UPPER] is not person.materials[BodyPart.LOWER]:
            continue
        dresses += 1
        upper, lower = person.labels[[at.UPPER_COLOUR, at.LOWER_COLOUR]]
        assert person.labels[at.LOWER_TYPE] == at.DRESS
        assert (upper < 0 and lower < 0) or at.UPPER_COLOURS[upper] == at.LOWER_COLOURS[lower]
    assert dresses


def test_wardrobe_changes_only_the_lower_colour_of_dresses(world: Any) -> None:
    plain = World(dataclasses.replace(SMALL, wardrobe=0.0), seed=11, identities=60, cameras=2)
    changed = plain.labels != world.labels
    assert set(np.nonzero(changed)[1]) <= {at.LOWER_COLOUR}
    assert (world.labels[changed.any(axis=1), at.LOWER_TYPE] == at.DRESS).all()
    assert all(person.face is None for person in plain.people)
    assert all(person.face is not None for person in world.people)


def test_crop_depends_on_seed_and_indices_only(world: Any) -> None:
    crop = render_crop(world, 5, 1, 2, with_body=True)
    other = render_crop(World(SMALL, seed=11, identities=6, cameras=2), 5, 1, 2)
    assert np.array_equal(crop.image, other.image)
    assert np.array_equal(crop.regions, other.regions)
    assert crop.image.shape == (128, 64, 3)


def test_background_is_independent_of_the_person(world: Any) -> None:
    """Crops of one identity have different backgrounds, and another person changes none of them."""
    other = World(SMALL, seed=11, identities=60, cameras=2)
    other.people = tuple(reversed(other.people))
    frames = [world.setting(*key).background for key in np.ndindex(2, 2)]
    others = [other.setting(*key).background for key in np.ndindex(2, 2)]
    assert all(np.array_equal(a, b) for a, b in zip(frames, others, strict=True))
    assert all(np.abs(frames[i].astype(float) - frames[j]).mean() > 0.02 for i in range(4) for j in range(i))


def test_older_presets_have_no_new_effects() -> None:
    for name in ("default", "small", "clean", "bench-1", "training"):
        preset = PRESETS[name]
        effects = (preset.wardrobe, preset.shadows, preset.clutter, preset.surveillance, preset.gestures)
        assert not any(effects), name
