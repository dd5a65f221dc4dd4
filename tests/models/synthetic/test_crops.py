"""Crops: reproducible, labelled to the pixel, and silent about the person outside the person."""

import dataclasses

import numpy as np
import pytest

from vestigo_models.errors import ConfigError
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.crops import regions_behind, render_crop, render_junk
from vestigo_models.synthetic.geometry.body import Pose, pose_body
from vestigo_models.synthetic.geometry.raycast import Raster
from vestigo_models.synthetic.materials.shading import render_layer
from vestigo_models.synthetic.placement import body_box, draw_view
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World

HEAD, UPPER, LOWER, SHOES, BELONGINGS = range(1, 6)
SMALL = dataclasses.replace(PRESETS["default"], frame_height=240, frame_width=320, person_pixels=(40.0, 120.0))


@pytest.fixture(scope="module")
def world():
    return World(SMALL, seed=3, identities=24, cameras=3)


def dressed(world, **labels):
    """A person of the world with some labels changed, everything else of them kept."""
    row = world.people[0].labels.copy()
    row[[at.BACKPACK, at.HANDBAG, at.BAG, at.HAT]] = 0
    for name, value in labels.items():
        row[getattr(at, name.upper())] = value
    return dataclasses.replace(world.people[0], labels=row)


def layer(world, person, heading, rows=128, cols=64):
    """The person alone, filling the raster, seen at `heading` (0 from behind, pi from the front)."""
    setting = world.setting(0, 0)
    body = pose_body(person, Pose(x=0.0, z=8.0, heading=heading, phase=0.3, walking=0.2))
    x0, y0, x1, y1 = body_box(body, setting.camera.view)
    return render_layer(person, body, setting.camera.view, Raster(x0, y0, x1 - x0, y1 - y0, rows, cols), setting.light)


def test_a_crop_depends_on_its_numbers_only(world):
    one = render_crop(world, 5, 1, 2)
    render_crop(world, 6, 0, 0)
    other = render_crop(World(SMALL, seed=3, identities=12, cameras=2), 5, 1, 2)
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.regions, other.regions)
    assert not np.array_equal(one.image, render_crop(world, 5, 1, 3).image)
    assert not np.array_equal(one.image, render_crop(World(SMALL, 4, 12, 2), 5, 1, 2).image)


def test_shapes_types_and_regions(world):
    for person in range(6):
        crop = render_crop(world, person, person % 3, 0)
        assert crop.image.shape == (128, 64, 3)
        assert crop.image.dtype == np.uint8
        assert crop.regions.shape == (128, 64)
        assert crop.regions.dtype == np.uint8
        assert crop.regions.max() <= BELONGINGS
        assert np.count_nonzero(crop.regions) > 200


def test_labels_are_the_peoples(world):
    assert world.labels.shape == (24, 12)
    assert world.labels.dtype == np.int64
    assert np.array_equal(world.labels[7], world.people[7].labels)


def test_nothing_but_the_person_tells_the_person(world):
    """Another person in the same view: same place, box, occluder; and every pixel away from both is the same."""
    other = World(SMALL, seed=3, identities=24, cameras=3)
    swapped = list(other.people)
    swapped[0] = swapped[1]
    other.people = tuple(swapped)
    assert draw_view(world, 0, 1, 0) == draw_view(other, 0, 1, 0)
    assert np.array_equal(world.setting(1, 0).background, other.setting(1, 0).background)
    assert world.setting(1, 0).look.exposure == other.setting(1, 0).look.exposure


def test_clothes_do_not_change_the_background(monkeypatch):
    """The same body in other colours: away from it, as far as the lens spreads its light, no pixel changes."""
    monkeypatch.setattr("vestigo_models.synthetic.crops.compress", lambda shown, _: (shown * 255).astype(np.uint8))
    clean = dataclasses.replace(SMALL, degradation=0.0, occluded=0.0, crowded=0.0, person_pixels=(90.0, 120.0))
    one, other = World(clean, 3, 2, 1), World(clean, 3, 2, 1)
    first = other.people[0]
    red = tuple(dataclasses.replace(m, colour=np.array([0.6, 0.02, 0.02], np.float32)) for m in first.materials)
    other.people = (dataclasses.replace(first, materials=red), other.people[1])
    a, b = render_crop(one, 0, 0, 0), render_crop(other, 0, 0, 0)
    assert np.array_equal(a.regions, b.regions)
    far = np.ones_like(a.regions, dtype=bool)
    for row, col in np.argwhere(a.regions > 0):
        far[max(row - 14, 0) : row + 15, max(col - 14, 0) : col + 15] = False
    assert far.any()
    assert np.abs(a.image[far].astype(int) - b.image[far].astype(int)).max() <= 2
    assert np.abs(a.image[a.regions == UPPER].astype(int) - b.image[a.regions == UPPER].astype(int)).mean() > 10


def test_body_parts_lie_where_they_belong(world):
    for person in world.people[:8]:
        found = layer(world, dressed(world) if person is world.people[0] else person, np.pi)
        rows = {region: np.argwhere(found.region == region)[:, 0].mean() for region in (HEAD, UPPER, LOWER, SHOES)}
        assert rows[HEAD] < rows[UPPER] < rows[LOWER] < rows[SHOES]


def test_a_backpack_is_seen_from_behind(world):
    person = dressed(world, backpack=1)
    behind = np.count_nonzero(layer(world, person, 0.0).region == BELONGINGS)
    front = np.count_nonzero(layer(world, person, np.pi).region == BELONGINGS)
    assert behind > 3 * front
    assert front > 0, "its straps are seen from the front"


@pytest.mark.parametrize("kind", ["handbag", "bag"])
def test_bags_are_seen(world, kind):
    assert np.count_nonzero(layer(world, dressed(world, **{kind: 1}), np.pi / 2).region == BELONGINGS) > 20
    assert not np.any(layer(world, dressed(world), np.pi / 2).region == BELONGINGS)


def test_a_skirt_is_wider_than_legs(world):
    def width_at_knees(person):
        found = layer(world, person, np.pi)
        return np.count_nonzero(found.region[76] == LOWER)

    dress, pants = (dressed(world, lower_type=t, lower_length=1) for t in (at.DRESS, at.PANTS))
    wear = dataclasses.replace(dress.wear, lower_end=1.0, flare=1.5)
    assert width_at_knees(dataclasses.replace(dress, wear=wear)) > 1.15 * width_at_knees(
        dataclasses.replace(pants, wear=wear)
    )


def test_a_hat_and_long_hair_show(world):
    bare = np.count_nonzero(layer(world, dressed(world, hair=0), 0.0).region == HEAD)
    assert np.count_nonzero(layer(world, dressed(world, hair=0, hat=1), 0.0).region == HEAD) != bare
    assert np.count_nonzero(layer(world, dressed(world, hair=1), 0.0).region == HEAD) > 1.1 * bare


def test_people_differ_more_than_the_views_of_one(world):
    """Clothes survive the cameras: mean chest colour, naively compared, is closer within than between people."""

    def chest(person, heading):
        found = layer(world, world.people[person], heading)
        return found.colour[found.region == UPPER].mean(axis=0)

    views = np.array([[chest(p, h) for h in (0.0, np.pi / 2, np.pi)] for p in range(12)])
    within = np.mean([np.abs(v[i] - v[j]).sum() for v in views for i in range(3) for j in range(i)])
    between = np.mean([np.abs(views[p, 0] - views[q, 0]).sum() for p in range(12) for q in range(p)])
    assert between > 1.5 * within


def test_behind_the_belongings(world):
    """Asking changes nothing else; the map differs from the regions where belongings are seen, and only there."""
    carried = hidden = covered = 0
    for person in range(24):
        plain = render_crop(world, person, person % 3, 0)
        crop = render_crop(world, person, person % 3, 0, behind=True)
        assert plain.behind is None
        assert np.array_equal(crop.image, plain.image)
        assert np.array_equal(crop.regions, plain.regions)
        assert crop.behind.shape == crop.regions.shape
        assert crop.behind.dtype == np.uint8
        assert crop.behind.max() < BELONGINGS
        seen = crop.regions == BELONGINGS
        assert np.array_equal(crop.behind[~seen], crop.regions[~seen])
        carries = world.labels[person, [at.BACKPACK, at.HANDBAG, at.BAG]].any()
        assert carries or not seen.any()
        carried += np.count_nonzero(seen)
        hidden += np.count_nonzero(crop.behind[seen])
        covered += draw_view(world, person, person % 3, 0).occluder >= 0
    assert 0 < hidden < carried
    assert covered, "no crop tells whether occluders cover both maps"


def test_behind_a_backpack_is_the_same_body_without_it(world):
    """Beside the body ray-cast with a person who carries nothing: the pose does not depend on a backpack."""
    setting = world.setting(0, 0)
    pose = Pose(x=0.0, z=8.0, heading=0.3, phase=0.3, walking=0.2)
    laden, free = (pose_body(dressed(world, backpack=b), pose) for b in (1, 0))
    x0, y0, x1, y1 = body_box(laden, setting.camera.view)
    raster = Raster(x0, y0, x1 - x0, y1 - y0, 128, 64)
    found = regions_behind(laden.solids, setting.camera.view, raster)
    expected = render_layer(dressed(world), free, setting.camera.view, raster, setting.light).region
    assert np.array_equal(found, expected)


def test_junk_holds_nobody(world):
    junk = render_junk(world, 0, 1)
    assert junk.behind is None
    assert not render_junk(world, 0, 1, behind=True).behind.any()
    assert junk.image.shape == (128, 64, 3)
    assert not junk.regions.any()


@pytest.mark.parametrize("counts", [(0, 1), (1, 0)])
def test_an_empty_world_is_refused(counts):
    with pytest.raises(ConfigError, match="at least one"):
        World(SMALL, 0, *counts)


def test_a_camera_that_does_not_exist_is_refused(world):
    with pytest.raises(ConfigError, match="cameras 0 to 2"):
        render_crop(world, 0, 3, 0)
