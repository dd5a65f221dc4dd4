"""Closed-form intersections equal sphere tracing of distance functions, one ray at a time."""

from typing import Any

import numpy as np
import pytest

from vestigo_models.synthetic.geometry.raycast import FRUSTUM, ROUND_CONE, Raster, Solids, Viewpoint, cast_rays


def round_cone_distance(p: Any, a: Any, b: Any, r0: Any, r1: Any) -> Any:
    """Return the distance to a sampled hull: many spheres between the ends."""
    t = np.linspace(0, 1, 400)[:, None]
    centres, radii = a + t * (b - a), r0 + t[:, 0] * (r1 - r0)
    return np.min(np.linalg.norm(p - centres, axis=1) - radii)


def inside_frustum(p: Any, a: Any, b: Any, r0: Any, r1: Any) -> Any:
    axis = b - a
    t = np.dot(p - a, axis) / np.dot(axis, axis)
    radius = np.linalg.norm(p - a - t * axis)
    return 0 <= t <= 1 and radius <= r0 + t * (r1 - r0)


def solid(kind: Any, a: Any, b: Any, r0: Any, r1: Any) -> Any:
    length = np.linalg.norm(b - a)
    y = (b - a) / length if length else np.array([0.0, 1.0, 0.0])
    x = np.cross(y, [0.3, 0.2, 0.93])
    x /= np.linalg.norm(x)
    axes = np.stack((x, y, np.cross(x, y)))
    f32 = np.float32
    return Solids(
        kind=np.array([kind]),
        frame=axes[None].astype(f32),
        axes=axes.T[None].astype(f32),
        origin=a[None].astype(f32),
        radius0=np.array([r0], f32),
        radius1=np.array([r1], f32),
        length=np.array([length], f32),
        material=np.array([0]),
        region=np.array([1], np.uint8),
    )


def camera() -> Any:
    return Viewpoint(np.array([0.0, 1.0, -4.0], np.float32), np.eye(3, dtype=np.float32), 40.0, (16.0, 16.0))


RASTER = Raster(0, 0, 32, 32, 32, 32)
SHAPES = [
    (np.array([-0.3, 0.5, 0.2]), np.array([0.4, 1.5, -0.3]), 0.4, 0.25),
    (np.array([0.0, 0.6, 0.0]), np.array([0.1, 1.4, 0.5]), 0.2, 0.5),
    (np.array([0.2, 1.0, 0.0]), np.array([0.2, 1.0, 0.0]), 0.6, 0.6),
    (np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.1, 0.0]), 0.6, 0.2),  # one sphere contains the other
]


def rays() -> Any:
    view = camera()
    for row in range(1, 32, 3):
        for col in range(1, 32, 3):
            direction = np.array([(col + 0.5 - 16) / 40, (16 - row - 0.5) / 40, 1.0])
            yield row, col, view.position.astype(float), direction


@pytest.mark.parametrize("shape", SHAPES)
def test_round_cone_equals_sphere_tracing(shape: Any) -> None:
    hits = cast_rays(solid(ROUND_CONE, *shape), camera(), RASTER)
    distances = dict(zip(hits.pixel.tolist(), hits.distance.tolist(), strict=True))
    assert distances
    for row, col, start, direction in rays():
        unit, t = direction / np.linalg.norm(direction), 0.0
        for _ in range(80):
            step = round_cone_distance(start + t * unit, *shape)
            t += step
            if step < 1e-5 or t > 12:
                break
        depth = t / np.linalg.norm(direction)
        if step < 1e-5:
            assert distances[row * 32 + col] == pytest.approx(depth, abs=4e-3)
        elif step > 0.02 or t > 12:
            assert row * 32 + col not in distances


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_frustum_equals_marching(shape: Any) -> None:
    hits = cast_rays(solid(FRUSTUM, *shape), camera(), RASTER)
    distances = dict(zip(hits.pixel.tolist(), hits.distance.tolist(), strict=True))
    for row, col, start, direction in rays():
        steps = np.arange(2.0, 7.0, 0.004)
        first = next((t for t in steps if inside_frustum(start + t * direction, *shape)), None)
        if first is None:
            # A grazing ray may slip between two steps of the march.
            hit = distances.get(row * 32 + col)
            assert hit is None or not inside_frustum(start + (hit + 0.01) * direction, *shape)
        else:
            assert distances[row * 32 + col] == pytest.approx(first, abs=6e-3)


@pytest.mark.parametrize("kind", [ROUND_CONE, FRUSTUM])
def test_normals_are_unit_and_face_the_camera(kind: Any) -> None:
    hits = cast_rays(solid(kind, *SHAPES[0]), camera(), RASTER)
    assert np.allclose(np.linalg.norm(hits.normal, axis=1), 1, atol=1e-4)
    towards = camera().position - hits.point
    assert np.all((hits.normal * towards).sum(axis=1) > -1e-2)


def test_sphere_normals_point_away_from_the_centre() -> None:
    hits = cast_rays(solid(ROUND_CONE, *SHAPES[2]), camera(), RASTER)
    assert np.allclose(hits.normal, (hits.point - SHAPES[2][0]) / 0.6, atol=1e-3)


def test_nearer_solid_is_hit() -> None:
    near, far = solid(ROUND_CONE, *SHAPES[0]), solid(ROUND_CONE, *SHAPES[0])
    both = Solids(**{name: np.concatenate((getattr(far, name), getattr(near, name))) for name in vars(near)})
    both.origin[0, 2] += 1.0
    hits = cast_rays(both, camera(), RASTER)
    middle = hits.solid[hits.pixel == 16 * 32 + 16]
    assert middle.tolist() == [1]
