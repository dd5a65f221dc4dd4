"""Placement of a person before a camera: pose, occluders and the detector's box.

It is independent of the person's attributes, so that no attribute can be predicted from pose, place, box, occluder or
camera.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.synthetic.camera import SyntheticCamera
from vestigo_models.synthetic.geometry.body import Body, Pose
from vestigo_models.synthetic.geometry.raycast import Viewpoint, bounding_boxes
from vestigo_models.synthetic.world import Stream, World

BYSTANDER = 9
"""Occluder that is another person; lower kinds are those of `scene.draw_object`."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Everything about one crop except the person in it."""

    scene: int
    pose: Pose
    box: tuple[float, float, float, float]  # left, top, right, bottom moved outwards, fraction of the person's height
    aspect: float  # width / height of the box; 0 keeps the person's own
    blur: float
    streak: float
    interpolation: int
    occluder: int  # -1 none, 0-2 kinds of `draw_object`, or BYSTANDER
    occluder_side: float
    bystanders: int
    exposure: float


def sample_pose(rng: np.random.Generator, camera: SyntheticCamera) -> Pose:
    """Return a random place on the camera's ground with heading and phase of the gait."""
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


def sample_placement(world: World, person_index: int, camera_index: int, view_index: int) -> Placement:
    """Return the random placement of one crop; the indices select the random stream."""
    preset = world.preset
    rng = world.rng(Stream.VIEW, person_index, camera_index, view_index)
    scene = int(rng.integers(preset.scenes))
    sloppy = preset.sloppiness
    edges = rng.normal((0.03, 0.03, 0.03, 0.03), 0.03 * sloppy)
    if rng.random() < 0.2 * sloppy:  # a failure of the detector: far too wide, or cut
        edges += rng.normal(0.0, 0.1, 4)
    if rng.random() < 0.06 * sloppy:  # legs out of the box
        edges[3] -= rng.uniform(0.1, 0.4)
    kind = -1
    if rng.random() < preset.occluded:
        kind = int(rng.choice([0, 1, 2, BYSTANDER], p=[0.25, 0.2, 0.2, 0.35]))
    return Placement(
        scene=scene,
        pose=sample_pose(rng, world.setting(camera_index, scene).camera),
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


def body_box(body: Body, view: Viewpoint) -> tuple[float, float, float, float]:
    """Return the pixel extent x0, y0, x1, y1 of a body."""
    boxes = bounding_boxes(body.solids, view)
    x0, y0 = boxes[:, :2].min(axis=0)
    x1, y1 = boxes[:, 2:].max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def detector_box(
    extent: tuple[float, float, float, float], placement: Placement, camera: SyntheticCamera
) -> tuple[float, float, float, float]:
    """Return a detector's box around a true extent, inside the frame."""
    x0, y0, x1, y1 = extent
    tall = y1 - y0
    left, top, right, bottom = (edge * tall for edge in placement.box)
    x0, y0, x1, y1 = x0 - left, y0 - top, x1 + right, y1 + bottom
    if placement.aspect:
        centre, half = (x0 + x1) / 2, placement.aspect * (y1 - y0) / 2
        x0, x1 = centre - half, centre + half
    x0, x1 = max(x0, 0.0), min(x1, float(camera.width))
    y0, y1 = max(y0, 0.0), min(y1, float(camera.height))
    return x0, y0, max(x1, x0 + 8), max(y1, y0 + 16)
