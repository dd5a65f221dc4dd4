"""Rendered crops: a person in front of a camera, cut out by an imprecise detector.

Pose, place, box, occluder and camera are independent of the person's attributes, so that none can be predicted from
them.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.arrays import FloatArray, UInt8Array
from vestigo_models.schemas.regions import BELONGINGS
from vestigo_models.synthetic.camera import SyntheticCamera, apply_response, compress, contact_shadow
from vestigo_models.synthetic.geometry.body import Pose, pose_body
from vestigo_models.synthetic.geometry.raycast import Raster, Solids, Viewpoint, cast_rays
from vestigo_models.synthetic.materials.shading import Layer, render_layer
from vestigo_models.synthetic.presets import Preset
from vestigo_models.synthetic.scene import draw_object
from vestigo_models.synthetic.scenery.props import draw_prop
from vestigo_models.synthetic.sunlight import Shade, cast_sun_shadow, sample_shade
from vestigo_models.synthetic.world import Setting, Stream, World

PROP, BYSTANDER = 8, 9
"""Occluders that are a random prop or another person; lower kinds are those of `scene.draw_object`."""


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
    occluder: int  # -1 none, 0-2 kinds of `draw_object`, PROP or BYSTANDER
    occluder_side: float
    bystanders: int
    exposure: float
    min_aspect: float = 0.0  # least width / height of a box that keeps the person's own
    props: int = 0  # number of props behind the person
    shade: Shade | None = None


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
    placement = Placement(
        scene=scene,
        pose=sample_pose(rng, world.setting(camera_index, scene).camera),
        box=tuple(edges.tolist()),
        aspect=float(rng.choice([0.0, rng.uniform(0.4, 0.5), 0.5], p=[0.25, 0.45, 0.3])),
        blur=float(np.exp(rng.normal(0, 0.25))),
        streak=float(rng.exponential(0.7)) * preset.degradation,
        interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])),
        occluder=kind,
        occluder_side=float(rng.uniform(-0.3, 0.3)),
        bystanders=int(rng.random() < preset.crowded) + int(rng.random() < preset.crowded / 3),
        exposure=float(np.exp(rng.normal(0, 0.12))),
    )
    return _vary(rng, placement, world.setting(camera_index, scene).camera, preset) if preset.gestures else placement


def _vary(rng: np.random.Generator, placement: Placement, camera: SyntheticCamera, preset: Preset) -> Placement:
    """Return a placement with more poses of the arms, and boxes as close to the person as those of detectors."""
    # Most crops that are searched are of people near the camera.
    depth = float(camera.near * (camera.far / camera.near) ** rng.beta(1.0, 2.4))
    pose = replace(
        placement.pose,
        x=placement.pose.x * depth / placement.pose.z,
        z=depth,
        arms=int(rng.choice(6, p=[0.56, 0.1, 0.08, 0.12, 0.08, 0.06])),
        reach=tuple(rng.normal(0, 0.22 * preset.gestures, 2).tolist()),
        walking=float(rng.uniform(0.5, 1.2)) if rng.random() < 0.82 else float(rng.uniform(0.0, 0.3)),
    )
    left, top, right, bottom = placement.box
    own = rng.random() < 0.5
    return replace(
        placement,
        pose=pose,
        # The extent of solids exceeds their silhouette by about as much as a detector's margin.
        box=(left - 0.015, top - 0.015, right - 0.015, bottom - 0.015),
        aspect=0.0 if own else float(rng.uniform(0.38, 0.5)),
        min_aspect=float(rng.uniform(0.34, 0.44)),
        occluder=placement.occluder if placement.occluder in (-1, BYSTANDER) else PROP,
        props=int(rng.integers(0, 3)),
        shade=sample_shade(rng) if rng.random() < 0.25 * preset.shadows else None,
    )


def detector_box(
    extent: tuple[float, float, float, float], placement: Placement, camera: SyntheticCamera
) -> tuple[float, float, float, float]:
    """Return a detector's box around a true extent, inside the frame."""
    x0, y0, x1, y1 = extent
    tall = y1 - y0
    left, top, right, bottom = (edge * tall for edge in placement.box)
    x0, y0, x1, y1 = x0 - left, y0 - top, x1 + right, y1 + bottom
    if placement.aspect or x1 - x0 < placement.min_aspect * (y1 - y0):
        centre, half = (x0 + x1) / 2, (placement.aspect or placement.min_aspect) * (y1 - y0) / 2
        x0, x1 = centre - half, centre + half
    x0, x1 = max(x0, 0.0), min(x1, float(camera.width))
    y0, y1 = max(y0, 0.0), min(y1, float(camera.height))
    return x0, y0, max(x1, x0 + 8), max(y1, y0 + 16)


MIN_VISIBLE = 0.35
"""Least visible fraction of a person behind an occluder."""


@dataclass(frozen=True)
class Crop:
    """A person crop with its true regions."""

    image: UInt8Array  # (height, width, 3) RGB
    regions: UInt8Array  # (height, width), region ids 0-5
    body: UInt8Array | None = None  # (height, width), 0-4: the regions without belongings


def render_crop(
    world: World, person_index: int, camera_index: int, view_index: int, *, with_body: bool = False
) -> Crop:
    """Return one crop of the preset's size, which depends on the world's seed and the three indices only.

    `with_body` adds the regions without belongings; pixels do not depend on it.
    """
    key = (person_index, camera_index, view_index)
    placement = sample_placement(world, *key)
    setting = world.setting(camera_index, placement.scene)
    person, view = world.people[person_index], setting.camera.view
    body = pose_body(person, placement.pose)
    x0, y0, x1, y1 = detector_box(body.box(view), placement, setting.camera)
    height, width = world.preset.crop_height, world.preset.crop_width
    # The sensor has the resolution of the box in the frame, and at most that of the stored crop.
    shrink = max(1.0, (y1 - y0) / height)
    sensor = Raster(x0, y0, x1 - x0, y1 - y0, max(12, round((y1 - y0) / shrink)), max(6, round((x1 - x0) / shrink)))
    image = _background(setting.background, sensor)
    rng = world.rng(Stream.COVER, *key)
    for _ in range(placement.props):
        _render_prop(rng, image, placement, setting, sensor, behind=float(rng.uniform(0.6, 4.0)))
    for _ in range(placement.bystanders):
        _render_bystander(world, rng, image, placement, setting, sensor, -float(rng.uniform(0.4, 4.0)))
    contact_shadow(image, setting.camera, sensor, placement.pose.x, placement.pose.z)
    # Sampled on the grid of the crop, so that regions match pixels; optical blur smooths edges.
    raster = Raster(x0, y0, x1 - x0, y1 - y0, height, width)
    shadow = cast_sun_shadow(world.preset, setting, body.solids, image, sensor)
    layer = render_layer(person, body, view, raster, setting.light, shadow)
    regions = layer.region
    without_belongings = cast_body_regions(body.solids, view, raster) if with_body else None
    _composite(image, layer)
    if placement.occluder >= 0:
        occluded = image.copy()
        cover = _occlude(world, rng, occluded, placement, setting, sensor)
        is_covered = cv2.resize(cover, (width, height), interpolation=cv2.INTER_NEAREST) > 0.5
        visible = np.where(is_covered, 0, regions).astype(np.uint8)
        # A person of whom less is visible would not be detected.
        if np.count_nonzero(visible) >= MIN_VISIBLE * np.count_nonzero(regions):
            image, regions = occluded, visible
            if without_belongings is not None:
                without_belongings = np.where(is_covered, 0, without_belongings).astype(np.uint8)
    if placement.shade:
        image *= placement.shade.mask(*image.shape[:2])
    image *= np.float32(placement.exposure)
    rng = world.rng(Stream.DEVELOP, *key)
    shown = apply_response(image, setting.response, rng, blur=placement.blur, streak=placement.streak)
    stored = compress(shown, setting.response)
    if stored.shape[:2] != (height, width):
        stored = np.asarray(cv2.resize(stored, (width, height), interpolation=placement.interpolation), dtype=np.uint8)
    return Crop(stored, regions, without_belongings)


def cast_body_regions(solids: Solids, view: Viewpoint, raster: Raster) -> UInt8Array:
    """Return the regions (rows, cols) of a body without its belongings; straps are the clothes that they lie on."""
    body = solids.subset(solids.region != BELONGINGS)
    hits = cast_rays(body, view, raster)
    return hits.scatter(body.region[hits.solid], raster)


def render_junk(world: World, camera_index: int, view_index: int, *, with_body: bool = False) -> Crop:
    """Return a false detection: a person-shaped crop of the background."""
    rng = world.rng(Stream.JUNK, camera_index, view_index)
    setting = world.setting(camera_index, int(rng.integers(world.preset.scenes)))
    height, width = world.preset.crop_height, world.preset.crop_width
    frame = setting.background.shape
    tall = rng.uniform(0.15, 0.4) * frame[0]
    x, y = rng.uniform(0, frame[1] - tall / 2), rng.uniform(0, frame[0] - tall)
    rows = min(height, max(12, round(tall)))
    image = _background(setting.background, Raster(x, y, tall / 2, tall, rows, max(6, rows // 2)))
    stored = compress(apply_response(image, setting.response, rng), setting.response)
    enlarged = cv2.resize(stored, (width, height), interpolation=cv2.INTER_LINEAR)
    regions = np.zeros((height, width), dtype=np.uint8)
    return Crop(np.asarray(enlarged, dtype=np.uint8), regions, regions if with_body else None)


def _background(canvas: NDArray[np.float16], raster: Raster) -> FloatArray:
    h, w = canvas.shape[:2]
    a, b = np.clip([raster.y, raster.y + raster.height + 1], 0, h).astype(int)
    c, d = np.clip([raster.x, raster.x + raster.width + 1], 0, w).astype(int)
    patch = canvas[min(a, h - 2) : max(b, a + 2), min(c, w - 2) : max(d, c + 2)].astype(np.float32)
    return np.asarray(cv2.resize(patch, (raster.cols, raster.rows), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _composite(image: FloatArray, layer: Layer) -> FloatArray:
    """Composite a layer over an image of another size and return its opacity, 0..1."""
    size = (image.shape[1], image.shape[0])
    cover: FloatArray = np.asarray(cv2.resize(layer.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    image *= (1 - cover)[..., None]
    image += np.asarray(cv2.resize(layer.colour, size, interpolation=cv2.INTER_AREA), np.float32)
    return cover


def _render_bystander(
    world: World,
    rng: np.random.Generator,
    image: FloatArray,
    placement: Placement,
    setting: Setting,
    sensor: Raster,
    nearer: float,
) -> FloatArray:
    """Render a bystander `nearer` metres in front of the person, partly inside the box; return the opacity."""
    side = float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.7))
    depth = max(placement.pose.z - nearer, 1.0)
    pose = Pose(
        x=placement.pose.x * depth / placement.pose.z + side,
        z=depth,
        heading=float(rng.uniform(0, 2 * np.pi)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )
    person = world.sample_bystander(rng)
    contact_shadow(image, setting.camera, sensor, pose.x, pose.z)
    return _composite(image, render_layer(person, pose_body(person, pose), setting.camera.view, sensor, setting.light))


def _occlude(
    world: World, rng: np.random.Generator, image: FloatArray, placement: Placement, setting: Setting, sensor: Raster
) -> FloatArray:
    """Render a post, bush, box or bystander between camera and person and return its opacity."""
    if placement.occluder == BYSTANDER:
        return _render_bystander(world, rng, image, placement, setting, sensor, float(rng.uniform(0.3, 0.8)))
    before = image.copy()
    if placement.occluder == PROP:
        _render_prop(rng, image, placement, setting, sensor, behind=-float(rng.uniform(0.3, 0.8)))
    else:
        x, y, unit = _stand(placement, setting, sensor, placement.occluder_side, -0.5)
        draw_object(image, x, y, unit, placement.occluder, rng)
    changed = np.abs(image - before).max(axis=2) > 1e-6
    image[changed] *= setting.light.sky
    return np.asarray(changed, dtype=np.float32)


def _stand(
    placement: Placement, setting: Setting, sensor: Raster, side: float, behind: float
) -> tuple[float, float, float]:
    """Return x and y of a place `side` and `behind` metres from the person, and the length of a metre, in samples."""
    spot = np.array([placement.pose.x + side, 0, placement.pose.z + behind], dtype=np.float32)
    foot, depth = setting.camera.view.project(spot)
    scale = sensor.rows / sensor.height
    x, y = (float(foot[0]) - sensor.x) * sensor.cols / sensor.width, (float(foot[1]) - sensor.y) * scale
    return x, y, setting.camera.view.focal / float(depth) * scale


def _render_prop(
    rng: np.random.Generator, image: FloatArray, placement: Placement, setting: Setting, sensor: Raster, behind: float
) -> None:
    """Draw a random prop `behind` metres behind the person, partly inside the box."""
    side = float(rng.uniform(-0.7, 0.7))
    x, y, unit = _stand(placement, setting, sensor, side, behind)
    draw_prop(image, x, y, unit, rng, near=True)
