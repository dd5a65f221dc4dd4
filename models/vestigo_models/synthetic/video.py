"""Rendered footage: the people of a world walk through the view of a fixed camera, with their true boxes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vestigo_models.arrays import Float32Array, FloatArray, Int64Array, UInt8Array
from vestigo_models.synthetic.camera import SyntheticCamera, apply_response, contact_shadow
from vestigo_models.synthetic.geometry.body import Pose, pose_body
from vestigo_models.synthetic.geometry.raycast import Raster
from vestigo_models.synthetic.materials.shading import render_layer
from vestigo_models.synthetic.people import Person
from vestigo_models.synthetic.sunlight import cast_sun_shadow
from vestigo_models.synthetic.world import Setting, Stream, World

MIN_VISIBLE = 0.3
"""Least visible fraction of a person with a box."""
SPEED = 1.25  # metres per second
GAP = 2.0  # mean seconds between two people who enter the view; about four are in it at once
MIN_GAP = 1.0  # seconds, if many people must pass within short footage
LEAD = 6.0  # seconds of walking before the footage begins, so that it does not begin empty


@dataclass(frozen=True)
class VideoFrame:
    """One frame and the people in it."""

    image: UInt8Array  # (height, width, 3) RGB
    boxes: Float32Array  # (N, 4) x, y, w, h of the part of the body inside the frame, pixels
    pids: Int64Array  # (N,) index of the person in the world


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One passage through the view: a straight line on the ground at constant speed."""

    person: int
    start: float  # seconds
    origin: tuple[float, float]  # x, z in metres
    velocity: tuple[float, float]  # metres a second
    length: float  # seconds
    phase: float
    arms: int

    def pose(self, time: float, person: Person) -> Pose:
        """Return the pose at a time in seconds; the rate of the gait fits the speed."""
        since = time - self.start
        vx, vz = self.velocity
        speed = float(np.hypot(vx, vz))
        step = 0.75 * person.shape.stride * person.shape.height / 1.72
        return Pose(
            x=self.origin[0] + vx * since,
            z=self.origin[1] + vz * since,
            heading=float(np.arctan2(vx, vz)),
            phase=self.phase + np.pi * speed * since / step,
            arms=self.arms,
        )


def plan_walks(world: World, camera_index: int, seconds: float) -> list[Walk]:
    """Return walks of all people in random order, repeated until the footage ends.

    If the footage is too short for all, the first people of the world pass each of its cameras.
    """
    camera = world.setting(camera_index, 0).camera
    rng = world.rng(Stream.WALK, camera_index)
    walks: list[Walk] = []
    gap = float(np.clip((seconds + LEAD - 4.0) / len(world.people), MIN_GAP, GAP))
    passing = min(len(world.people), int(np.ceil((seconds + LEAD - 1.0) / gap)))
    time, order = -LEAD, rng.permutation(passing).tolist()
    while time < seconds - 1.0:
        person = order[len(walks) % passing]
        if walks and len(walks) % passing == 0:
            time += 4.0  # a person is in the view once at a time
        walks.append(_sample_walk(rng, camera, person, time, world.people[person]))
        time += gap * float(rng.uniform(0.4, 1.6))
    return walks


def _sample_walk(rng: np.random.Generator, camera: SyntheticCamera, index: int, start: float, person: Person) -> Walk:
    speed = SPEED * float(rng.uniform(0.8, 1.2)) * person.shape.stride
    side = float(rng.choice([-1, 1]))
    # The nearest depth is where feet and head still fit into the frame.
    depth0, depth1 = np.exp(rng.uniform(np.log(camera.near * 1.1), np.log(camera.far * 0.8), 2))
    half = 0.5 * camera.width / camera.view.focal
    a = np.array([-side * (half * depth0 + 0.3), depth0])
    b = np.array([side * (half * depth1 + 0.3), depth1])
    length = float(np.linalg.norm(b - a)) / speed
    return Walk(
        person=index,
        start=start,
        origin=tuple(a.tolist()),
        velocity=tuple(((b - a) / length).tolist()),
        length=length,
        phase=float(rng.uniform(0, 2 * np.pi)),
        arms=int(rng.choice([0, 1, 2], p=[0.86, 0.07, 0.07])),
    )


def render_video(world: World, camera_index: int, seconds: float, fps: float = 10.0) -> Iterator[VideoFrame]:
    """Yield `round(seconds * fps)` frames of one camera with a static background, flickering light and sensor noise."""
    setting = world.setting(camera_index, 0)
    walks = plan_walks(world, camera_index, seconds)
    for number in range(round(seconds * fps)):
        time = number / fps
        rng = world.rng(Stream.FRAME, camera_index, number)
        canvas = setting.background.astype(np.float32)
        present = [w for w in walks if w.start <= time <= w.start + w.length]
        boxes, pids = _paint(world, canvas, present, time, setting)
        canvas *= np.float32(1 + 0.015 * np.sin(time * 2.1) + 0.004 * rng.standard_normal())
        shown = apply_response(canvas, setting.response, rng)
        yield VideoFrame((shown * 255 + 0.5).astype(np.uint8), boxes, pids)


def _paint(
    world: World, canvas: FloatArray, walks: list[Walk], time: float, setting: Setting
) -> tuple[Float32Array, Int64Array]:
    """Paint people from far to near and return boxes and identities of those who remain visible."""
    camera = setting.camera
    owner = np.full(canvas.shape[:2], -1, dtype=np.int32)
    full: list[tuple[int, tuple[int, int, int, int], int]] = []
    poses = sorted(((w.pose(time, world.people[w.person]), w.person) for w in walks), key=lambda item: -item[0].z)
    for pose, index in poses:
        body = pose_body(world.people[index], pose)
        x0, y0, x1, y1 = body.box(camera.view)
        a, b, c, d = int(np.floor(y0)), int(np.ceil(y1)), int(np.floor(x0)), int(np.ceil(x1))
        foot = slice(max(0, b - (b - a) // 4), max(0, b + (b - a) // 8))
        side = slice(max(0, c - (b - a) // 2), max(0, d + (b - a) // 2))
        patch = canvas[foot, side]
        ground = Raster(side.start, foot.start, *patch.shape[1::-1], *patch.shape[:2])
        contact_shadow(patch, camera, ground, pose.x, pose.z)
        shadow = cast_sun_shadow(world.preset, setting, body.solids, patch, ground)
        raster = Raster(c, a, d - c, b - a, b - a, d - c)
        layer = render_layer(world.people[index], body, camera.view, raster, setting.light, shadow)
        rows, cols = np.nonzero(layer.mask)
        y, x = rows + a, cols + c
        inside = (y >= 0) & (y < canvas.shape[0]) & (x >= 0) & (x < canvas.shape[1])
        if not inside.any():
            continue
        y, x = y[inside], x[inside]
        canvas[y, x] = layer.colour[rows[inside], cols[inside]]
        owner[y, x] = index
        left, top = int(x.min()), int(y.min())
        full.append((index, (left, top, int(x.max()) + 1 - left, int(y.max()) + 1 - top), len(rows)))
    shown = [(index, box) for index, box, area in full if np.count_nonzero(owner == index) >= MIN_VISIBLE * area]
    boxes = np.array([box for _, box in shown], dtype=np.float32).reshape(-1, 4)
    return boxes, np.array([index for index, _ in shown], dtype=np.int64)
