"""Rendered crops: reproducible, labelled by pixel, with backgrounds independent of the person."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from vestigo_models.errors import ConfigError
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.crops import cast_body_regions, render_crop, render_junk, sample_placement
from vestigo_models.synthetic.geometry.body import Pose, pose_body
from vestigo_models.synthetic.geometry.raycast import Raster
from vestigo_models.synthetic.materials.shading import render_layer
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World

HEAD, UPPER, LOWER, SHOES, BELONGINGS = range(1, 6)
SMALL = dataclasses.replace(PRESETS["default"], frame_height=240, frame_width=320, person_pixels=(40.0, 120.0))


@pytest.fixture(scope="module")
def world() -> Any:
    return World(SMALL, seed=3, identities=24, cameras=3)


def dressed(world: World, **labels: Any) -> Any:
    """Return a person of the world with some labels changed."""
    row = world.people[0].labels.copy()
    row[[at.BACKPACK, at.HANDBAG, at.BAG, at.HAT]] = 0
    for name, value in labels.items():
        row[getattr(at, name.upper())] = value
    return dataclasses.replace(world.people[0], labels=row)


def layer(world: World, person: Any, heading: Any, rows: int = 128, cols: int = 64) -> Any:
    """Render the person alone, filling the raster, at `heading` (0 from behind, pi from the front)."""
    setting = world.setting(0, 0)
    body = pose_body(person, Pose(x=0.0, z=8.0, heading=heading, phase=0.3, walking=0.2))
    x0, y0, x1, y1 = body.box(setting.camera.view)
    return render_layer(person, body, setting.camera.view, Raster(x0, y0, x1 - x0, y1 - y0, rows, cols), setting.light)


def test_crop_depends_on_seed_and_indices_only(world: World) -> None:
    crop = render_crop(world, 5, 1, 2)
    render_crop(world, 6, 0, 0)
    other = render_crop(World(SMALL, seed=3, identities=12, cameras=2), 5, 1, 2)
    assert np.array_equal(crop.image, other.image)
    assert np.array_equal(crop.regions, other.regions)
    assert not np.array_equal(crop.image, render_crop(world, 5, 1, 3).image)
    assert not np.array_equal(crop.image, render_crop(World(SMALL, 4, 12, 2), 5, 1, 2).image)


def test_crop_shapes_and_dtypes(world: World) -> None:
    for person in range(6):
        crop = render_crop(world, person, person % 3, 0)
        assert crop.image.shape == (128, 64, 3)
        assert crop.image.dtype == np.uint8
        assert crop.regions.shape == (128, 64)
        assert crop.regions.dtype == np.uint8
        assert crop.regions.max() <= BELONGINGS
        assert np.count_nonzero(crop.regions) > 200


def test_world_labels_are_those_of_its_people(world: World) -> None:
    assert world.labels.shape == (24, 12)
    assert world.labels.dtype == np.int64
    assert np.array_equal(world.labels[7], world.people[7].labels)


def test_placement_is_independent_of_the_person(world: World) -> None:
    """Another person in the same view has the same place, box, occluder and camera."""
    other = World(SMALL, seed=3, identities=24, cameras=3)
    swapped = list(other.people)
    swapped[0] = swapped[1]
    other.people = tuple(swapped)
    assert sample_placement(world, 0, 1, 0) == sample_placement(other, 0, 1, 0)
    assert np.array_equal(world.setting(1, 0).background, other.setting(1, 0).background)
    assert world.setting(1, 0).response.exposure == other.setting(1, 0).response.exposure


def test_clothes_do_not_change_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels away from a body, beyond the optical blur, do not depend on its colours."""
    monkeypatch.setattr("vestigo_models.synthetic.crops.compress", lambda shown, _: (shown * 255).astype(np.uint8))
    clean = dataclasses.replace(SMALL, degradation=0.0, occluded=0.0, crowded=0.0, person_pixels=(90.0, 120.0))
    world, other = World(clean, 3, 2, 1), World(clean, 3, 2, 1)
    first = other.people[0]
    red = tuple(dataclasses.replace(m, colour=np.array([0.6, 0.02, 0.02], np.float32)) for m in first.materials)
    other.people = (dataclasses.replace(first, materials=red), other.people[1])
    a, b = render_crop(world, 0, 0, 0), render_crop(other, 0, 0, 0)
    assert np.array_equal(a.regions, b.regions)
    far = np.ones_like(a.regions, dtype=bool)
    for row, col in np.argwhere(a.regions > 0):
        far[max(row - 14, 0) : row + 15, max(col - 14, 0) : col + 15] = False
    assert far.any()
    assert np.abs(a.image[far].astype(int) - b.image[far].astype(int)).max() <= 2
    assert np.abs(a.image[a.regions == UPPER].astype(int) - b.image[a.regions == UPPER].astype(int)).mean() > 10


def test_regions_are_ordered_from_head_to_shoes(world: World) -> None:
    for person in world.people[:8]:
        rendered = layer(world, dressed(world) if person is world.people[0] else person, np.pi)
        rows = {region: np.argwhere(rendered.region == region)[:, 0].mean() for region in (HEAD, UPPER, LOWER, SHOES)}
        assert rows[HEAD] < rows[UPPER] < rows[LOWER] < rows[SHOES]


def test_backpack_is_visible_from_behind(world: World) -> None:
    person = dressed(world, backpack=1)
    behind = np.count_nonzero(layer(world, person, 0.0).region == BELONGINGS)
    front = np.count_nonzero(layer(world, person, np.pi).region == BELONGINGS)
    assert behind > 3 * front
    assert front > 0, "straps are visible from the front"


@pytest.mark.parametrize("kind", ["handbag", "bag"])
def test_bags_are_visible(world: World, kind: Any) -> None:
    assert np.count_nonzero(layer(world, dressed(world, **{kind: 1}), np.pi / 2).region == BELONGINGS) > 20
    assert not np.any(layer(world, dressed(world), np.pi / 2).region == BELONGINGS)


def test_skirt_is_wider_than_legs(world: World) -> None:
    def width_at_knees(person: Any) -> Any:
        rendered = layer(world, person, np.pi)
        return np.count_nonzero(rendered.region[76] == LOWER)

    dress, pants = (dressed(world, lower_type=t, lower_length=1) for t in (at.DRESS, at.PANTS))
    clothing = dataclasses.replace(dress.clothing, lower_end=1.0, flare=1.5)
    assert width_at_knees(dataclasses.replace(dress, clothing=clothing)) > 1.15 * width_at_knees(
        dataclasses.replace(pants, clothing=clothing)
    )


def test_hat_and_long_hair_are_visible(world: World) -> None:
    bare = np.count_nonzero(layer(world, dressed(world, hair=0), 0.0).region == HEAD)
    assert np.count_nonzero(layer(world, dressed(world, hair=0, hat=1), 0.0).region == HEAD) != bare
    assert np.count_nonzero(layer(world, dressed(world, hair=1), 0.0).region == HEAD) > 1.1 * bare


def test_people_differ_more_than_views_of_one_person(world: World) -> None:
    """Mean chest colour differs less between views of one person than between people."""

    def chest(person: Any, heading: Any) -> Any:
        rendered = layer(world, world.people[person], heading)
        return rendered.colour[rendered.region == UPPER].mean(axis=0)

    views = np.array([[chest(p, h) for h in (0.0, np.pi / 2, np.pi)] for p in range(12)])
    within = np.mean([np.abs(v[i] - v[j]).sum() for v in views for i in range(3) for j in range(i)])
    between = np.mean([np.abs(views[p, 0] - views[q, 0]).sum() for p in range(12) for q in range(p)])
    assert between > 1.5 * within


def test_body_differs_from_regions_at_belongings_only(world: World) -> None:
    carried = hidden = covered = 0
    for person in range(24):
        plain = render_crop(world, person, person % 3, 0)
        crop = render_crop(world, person, person % 3, 0, with_body=True)
        assert plain.body is None
        assert np.array_equal(crop.image, plain.image)
        assert np.array_equal(crop.regions, plain.regions)
        assert crop.body.shape == crop.regions.shape
        assert crop.body.dtype == np.uint8
        assert crop.body.max() < BELONGINGS
        seen = crop.regions == BELONGINGS
        assert np.array_equal(crop.body[~seen], crop.regions[~seen])
        carries = world.labels[person, [at.BACKPACK, at.HANDBAG, at.BAG]].any()
        assert carries or not seen.any()
        carried += np.count_nonzero(seen)
        hidden += np.count_nonzero(crop.body[seen])
        covered += sample_placement(world, person, person % 3, 0).occluder >= 0
    assert 0 < hidden < carried
    assert covered, "no crop has an occluder"


def test_body_equals_person_without_backpack(world: World) -> None:
    setting = world.setting(0, 0)
    pose = Pose(x=0.0, z=8.0, heading=0.3, phase=0.3, walking=0.2)
    with_backpack, without = (pose_body(dressed(world, backpack=b), pose) for b in (1, 0))
    x0, y0, x1, y1 = with_backpack.box(setting.camera.view)
    raster = Raster(x0, y0, x1 - x0, y1 - y0, 128, 64)
    hits = cast_body_regions(with_backpack.solids, setting.camera.view, raster)
    expected = render_layer(dressed(world), without, setting.camera.view, raster, setting.light).region
    assert np.array_equal(hits, expected)


def test_junk_shows_no_person(world: World) -> None:
    junk = render_junk(world, 0, 1)
    assert junk.body is None
    assert not render_junk(world, 0, 1, with_body=True).body.any()
    assert junk.image.shape == (128, 64, 3)
    assert not junk.regions.any()


@pytest.mark.parametrize("counts", [(0, 1), (1, 0)])
def test_empty_world_is_refused(counts: Any) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        World(SMALL, 0, *counts)


def test_unknown_camera_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="cameras 0 to 2"):
        render_crop(world, 0, 3, 0)
