"""One crop: a person walks in front of a camera, a detector boxes them, the camera's pixels become the crop."""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.synthetic.camera import compress, contact_shadow, develop
from vestigo_models.synthetic.geometry.body import BELONGINGS, Pose, pose_body
from vestigo_models.synthetic.geometry.raycast import Floats, Raster, Solids, View, cast
from vestigo_models.synthetic.materials.shading import Layer, render_layer
from vestigo_models.synthetic.placement import PASSER_BY, Draw, body_box, detector_box, draw_view
from vestigo_models.synthetic.scene import paste
from vestigo_models.synthetic.world import Setting, Stream, World

MIN_VISIBLE = 0.35
"""Least fraction of a person that an occluder leaves to be seen."""


@dataclass(frozen=True)
class Crop:
    """A person crop and what each pixel shows."""

    image: NDArray[np.uint8]  # (height, width, 3) RGB
    regions: NDArray[np.uint8]  # (height, width), region ids 0-5
    behind: NDArray[np.uint8] | None = None  # (height, width), 0-4: the regions if the belongings were not there


def render_crop(world: World, person_index: int, camera_index: int, view_index: int, *, behind: bool = False) -> Crop:
    """Render one crop; it depends on the world's seed and the three indices only.

    Args:
        behind: also tell what lies behind the person's belongings; nothing else changes.

    Returns:
        Crop of the preset's size; a pixel has the region that lies at its centre.
    """
    key = (person_index, camera_index, view_index)
    draw = draw_view(world, *key)
    setting = world.setting(camera_index, draw.scene)
    person, view = world.people[person_index], setting.camera.view
    body = pose_body(person, draw.pose)
    x0, y0, x1, y1 = detector_box(body_box(body, view), draw, setting.camera)
    height, width = world.preset.crop_height, world.preset.crop_width
    # The sensor sees the crop at the size the box has in the frame, and never finer than the crop we keep.
    shrink = max(1.0, (y1 - y0) / height)
    sensor = Raster(x0, y0, x1 - x0, y1 - y0, max(12, round((y1 - y0) / shrink)), max(6, round((x1 - x0) / shrink)))
    image = _background(setting.background, sensor)
    rng = world.rng(Stream.COVER, *key)
    for _ in range(draw.bystanders):
        _passer_by(world, rng, image, draw, setting, sensor, nearer=-float(rng.uniform(0.4, 4.0)))
    contact_shadow(image, setting.camera, sensor, draw.pose.x, draw.pose.z)
    # Sampled on the crop's own grid, so that a region belongs to its pixel; the lens takes care of jagged edges.
    raster = Raster(x0, y0, x1 - x0, y1 - y0, height, width)
    layer = render_layer(person, body, view, raster, setting.light)
    regions = layer.region
    hidden = regions_behind(body.solids, view, raster) if behind else None
    _composite(image, layer)
    if draw.occluder >= 0:
        covered = image.copy()
        cover = _occlude(world, rng, covered, draw, setting, sensor)
        covers = cv2.resize(cover, (width, height), interpolation=cv2.INTER_NEAREST) > 0.5
        left = np.where(covers, 0, regions)
        # Somebody who can hardly be seen would not have been detected.
        if np.count_nonzero(left) >= MIN_VISIBLE * np.count_nonzero(regions):
            image, regions = covered, left.astype(np.uint8)
            hidden = None if hidden is None else np.where(covers, 0, hidden).astype(np.uint8)
    image *= np.float32(draw.exposure)
    shown = develop(image, setting.look, world.rng(Stream.DEVELOP, *key), blur=draw.blur, streak=draw.streak)
    stored = compress(shown, setting.look)
    if stored.shape[:2] != (height, width):
        stored = np.asarray(cv2.resize(stored, (width, height), interpolation=draw.interpolation), dtype=np.uint8)
    return Crop(stored, regions, hidden)


def regions_behind(solids: Solids, view: View, raster: Raster) -> NDArray[np.uint8]:
    """Regions (rows, cols) of a body that carries nothing, standing as it does with its belongings.

    Straps are painted on the torso, so without paint they are the clothes that they lie on.
    """
    bare = solids.region != BELONGINGS
    body = Solids(**{field.name: getattr(solids, field.name)[bare] for field in fields(Solids)})
    hits = cast(body, view, raster)
    regions = np.zeros(raster.rows * raster.cols, dtype=np.uint8)
    regions[hits.pixel] = body.region[hits.solid]
    return regions.reshape(raster.rows, raster.cols)


def render_junk(world: World, camera_index: int, view_index: int, *, behind: bool = False) -> Crop:
    """Render a false detection: a person-shaped box over a place where nobody is. Regions are all background."""
    rng = world.rng(Stream.JUNK, camera_index, view_index)
    setting = world.setting(camera_index, int(rng.integers(world.preset.scenes)))
    height, width = world.preset.crop_height, world.preset.crop_width
    frame = setting.background.shape
    tall = rng.uniform(0.15, 0.4) * frame[0]
    x, y = rng.uniform(0, frame[1] - tall / 2), rng.uniform(0, frame[0] - tall)
    rows = min(height, max(12, round(tall)))
    image = _background(setting.background, Raster(x, y, tall / 2, tall, rows, max(6, rows // 2)))
    stored = compress(develop(image, setting.look, rng), setting.look)
    enlarged = cv2.resize(stored, (width, height), interpolation=cv2.INTER_LINEAR)
    nothing = np.zeros((height, width), dtype=np.uint8)
    return Crop(np.asarray(enlarged, dtype=np.uint8), nothing, nothing if behind else None)


def _background(canvas: NDArray[np.float16], raster: Raster) -> Floats:
    """Cut the raster's window out of the frame-sized background."""
    h, w = canvas.shape[:2]
    a, b = np.clip([raster.y, raster.y + raster.height + 1], 0, h).astype(int)
    c, d = np.clip([raster.x, raster.x + raster.width + 1], 0, w).astype(int)
    patch = canvas[min(a, h - 2) : max(b, a + 2), min(c, w - 2) : max(d, c + 2)].astype(np.float32)
    return np.asarray(cv2.resize(patch, (raster.cols, raster.rows), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _composite(image: Floats, layer: Layer) -> Floats:
    """Lay a layer over an image of another size; returns how far it covers each pixel, 0..1."""
    size = (image.shape[1], image.shape[0])
    colour: Floats = np.asarray(cv2.resize(layer.colour, size, interpolation=cv2.INTER_AREA), np.float32)
    cover: Floats = np.asarray(
        cv2.resize((layer.region > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )
    image *= (1 - cover)[..., None]
    image += colour
    return cover


def _passer_by(
    world: World,
    rng: np.random.Generator,
    image: Floats,
    draw: Draw,
    setting: Setting,
    sensor: Raster,
    *,
    nearer: float,
) -> Floats:
    """Draw somebody else partly inside the box, `nearer` metres before the person; returns where they are."""
    side = float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.7))
    depth = max(draw.pose.z - nearer, 1.0)
    pose = Pose(
        x=draw.pose.x * depth / draw.pose.z + side,
        z=depth,
        heading=float(rng.uniform(0, 2 * np.pi)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )
    person = world.stranger(rng)
    contact_shadow(image, setting.camera, sensor, pose.x, pose.z)
    return _composite(image, render_layer(person, pose_body(person, pose), setting.camera.view, sensor, setting.light))


def _occlude(
    world: World, rng: np.random.Generator, image: Floats, draw: Draw, setting: Setting, sensor: Raster
) -> Floats:
    """Put a post, bush, box or passer-by between camera and person; returns where it is."""
    if draw.occluder == PASSER_BY:
        return _passer_by(world, rng, image, draw, setting, sensor, nearer=float(rng.uniform(0.3, 0.8)))
    before = image.copy()
    spot = np.array([draw.pose.x + draw.occluder_side, 0, draw.pose.z - 0.5], dtype=np.float32)
    foot, depth = setting.camera.view.project(spot)
    scale = sensor.rows / sensor.height
    x, y = (float(foot[0]) - sensor.x) * sensor.cols / sensor.width, (float(foot[1]) - sensor.y) * scale
    paste(image, x, y, setting.camera.view.focal / float(depth) * scale, draw.occluder, rng)
    changed = np.abs(image - before).max(axis=2) > 1e-6
    image[changed] *= setting.light.sky
    return np.asarray(changed, dtype=np.float32)
