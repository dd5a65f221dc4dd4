"""Shadows of the sun against a naive ray march."""

import numpy as np

from vestigo_models.synthetic.geometry.body import Pose, pose_body
from vestigo_models.synthetic.geometry.raycast import Raster, Viewpoint, cast_rays
from vestigo_models.synthetic.materials.shadows import cast_shadow_map, ground_shadow
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.world import World

VIEW = Viewpoint(np.array([0, 1.6, 0], np.float32), np.eye(3, dtype=np.float32), 300.0, (160.0, 120.0))
SUN = np.array([0.6, 0.7, -0.39], np.float32) / np.float32(np.linalg.norm([0.6, 0.7, -0.39]))


def inside(solids: object, points: np.ndarray) -> np.ndarray:
    """Return which points (N, 3) lie inside any solid: 40 spheres for each rounded cone, none for frusta."""
    result = np.zeros(len(points), dtype=bool)
    for p in np.flatnonzero(solids.kind == 0):
        local = (points - solids.origin[p]) @ solids.frame[p].T
        for share in np.linspace(0, 1, 40):
            radius = solids.radius0[p] + share * (solids.radius1[p] - solids.radius0[p])
            away = local - np.array([0, share * solids.length[p], 0])
            result |= (away**2).sum(axis=1) < radius**2
    return result


def test_shadow_map_agrees_with_a_ray_march() -> None:
    person = World(PRESETS["clean"], seed=2, identities=1, cameras=1).people[0]
    body = pose_body(person, Pose(x=0.2, z=5.0, heading=0.7, phase=0.5))
    shadow = cast_shadow_map(body.solids, SUN)
    x0, y0, x1, y1 = body.box(VIEW)
    hits = cast_rays(body.solids, VIEW, Raster(x0, y0, x1 - x0, y1 - y0, 48, 24))
    points = hits.point[hits.normal @ SUN > 0.2]  # the others face away from the sun
    marched = np.zeros(len(points), dtype=bool)
    for step in np.arange(0.06, 1.0, 0.015):
        marched |= inside(body.solids, points + step * SUN)
    assert 0.05 < marched.mean() < 0.9
    assert np.mean(shadow.is_shaded(points) == marched) > 0.85, "frusta are not marched"


def test_ground_shadow_lies_away_from_the_sun() -> None:
    person = World(PRESETS["clean"], seed=2, identities=1, cameras=1).people[0]
    body = pose_body(person, Pose(x=0.0, z=6.0, heading=0.0, phase=0.5))
    shade = ground_shadow(cast_shadow_map(body.solids, SUN), VIEW, Raster(0, 0, 320, 240, 240, 320))
    columns = np.nonzero(shade > 0.5)[1]
    foot = VIEW.project(np.array([0, 0, 6.0], np.float32))[0][0]
    assert shade.max() > 0.9
    assert shade[:110].max() == 0, "nothing above the horizon"
    assert columns.mean() < foot
