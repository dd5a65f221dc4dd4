"""Views: where somebody stands before a camera, what covers them, and the box that a detector would draw.

Nothing in this module sees a person's attributes: a view is drawn from its numbers alone, so that no attribute can be
read from pose, place, box, occluder or camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.synthetic.camera import Camera
from vestigo_models.synthetic.geometry.body import Body, Pose
from vestigo_models.synthetic.geometry.raycast import View, bounding_boxes
from vestigo_models.synthetic.world import Stream, World

PASSER_BY = 9
"""Occluder that is another person; the kinds below it are those of `scene.paste`."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Everything about one crop except the person in it, drawn without looking at the person."""

    scene: int
    pose: Pose
    box: tuple[float, float, float, float]  # left, top, right, bottom moved outwards, fraction of the person's height
    aspect: float  # width / height of the box; 0 keeps the person's own
    blur: float
    streak: float
    interpolation: int
    occluder: int  # -1 none, 0-2 kinds of `paste`, or PASSER_BY
    occluder_side: float
    bystanders: int
    exposure: float


def draw_pose(rng: np.random.Generator, camera: Camera) -> Pose:
    """Draw a place on the camera's ground, a heading and a moment of the gait."""
    depth = float(camera.near * (camera.far / camera.near) ** rng.beta(1.0, 1.0))
    across = rng.uniform(-0.42, 0.42) * depth * camera.width / camera.view.focal
    if rng.random() < 0.6:
        heading = camera.flow + (np.pi if rng.random() < 0.5 else 0.0) + rng.normal(0, 0.35)
    else:
        heading = rng.uniform(0, 2 * np.pi)
    return Pose(
        x=float(across),
        z=depth,
        heading=float(heading),
        phase=float(rng.uniform(0, 2 * np.pi)),
        walking=float(rng.uniform(0.6, 1.1)) if rng.random() < 0.8 else 0.15,
        arms=int(rng.choice([0, 1, 2], p=[0.84, 0.08, 0.08])),
    )


def draw_view(world: World, person_index: int, camera_index: int, view_index: int) -> Draw:
    """Draw a view. The numbers only name the random stream: nothing of the person is read."""
    preset = world.preset
    rng = world.rng(Stream.VIEW, person_index, camera_index, view_index)
    scene = int(rng.integers(preset.scenes))
    sloppy = preset.sloppiness
    edges = rng.normal((0.03, 0.03, 0.03, 0.03), 0.03 * sloppy)
    if rng.random() < 0.2 * sloppy:  # a detector's bad day: far too wide, or cut
        edges += rng.normal(0.0, 0.1, 4)
    if rng.random() < 0.06 * sloppy:  # legs out of the box
        edges[3] -= rng.uniform(0.1, 0.4)
    kind = -1
    if rng.random() < preset.occluded:
        kind = int(rng.choice([0, 1, 2, PASSER_BY], p=[0.25, 0.2, 0.2, 0.35]))
    return Draw(
        scene=scene,
        pose=draw_pose(rng, world.setting(camera_index, scene).camera),
        box=(float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3])),
        aspect=float(rng.choice([0.0, rng.uniform(0.4, 0.5), 0.5], p=[0.25, 0.45, 0.3])),
        blur=float(np.exp(rng.normal(0, 0.25))),
        streak=float(rng.exponential(0.7)) * preset.degradation,
        interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])),
        occluder=kind,
        occluder_side=float(rng.uniform(-0.3, 0.3)),
        bystanders=int(rng.random() < preset.crowded) + int(rng.random() < preset.crowded / 3),
        exposure=float(np.exp(rng.normal(0, 0.12))),
    )


def body_box(body: Body, view: View) -> tuple[float, float, float, float]:
    """Pixel extent x0, y0, x1, y1 of a posed body."""
    boxes = bounding_boxes(body.solids, view)
    x0, y0 = boxes[:, :2].min(axis=0)
    x1, y1 = boxes[:, 2:].max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def detector_box(
    extent: tuple[float, float, float, float], draw: Draw, camera: Camera
) -> tuple[float, float, float, float]:
    """A detector's box around a true extent, inside the frame."""
    x0, y0, x1, y1 = extent
    tall = y1 - y0
    left, top, right, bottom = (edge * tall for edge in draw.box)
    x0, y0, x1, y1 = x0 - left, y0 - top, x1 + right, y1 + bottom
    if draw.aspect:
        centre, half = (x0 + x1) / 2, draw.aspect * (y1 - y0) / 2
        x0, x1 = centre - half, centre + half
    x0, x1 = max(x0, 0.0), min(x1, float(camera.width))
    y0, y1 = max(y0, 0.0), min(y1, float(camera.height))
    return x0, y0, max(x1, x0 + 8), max(y1, y0 + 16)
