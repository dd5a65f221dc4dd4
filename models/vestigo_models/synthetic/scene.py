"""Rendered backgrounds: a street, yard or hall over the camera's ground plane, independent of people."""

import colorsys

import cv2
import numpy as np

from vestigo_models.arrays import FloatArray
from vestigo_models.synthetic.camera import SyntheticCamera
from vestigo_models.synthetic.materials.clothes import Colour, linear


def noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> FloatArray:
    """Return smooth noise (height, width), about -1..1; `cell` is the coarsest grain in pixels."""
    total = np.zeros((height, width), dtype=np.float32)
    weight = 0.6
    for _ in range(octaves):
        rows, cols = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
        grid = rng.uniform(-1, 1, (rows, cols)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight, cell = weight * 0.6, max(cell / 2.6, 1.0)
    return total


def _tone(
    rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    return linear(colorsys.hsv_to_rgb(rng.uniform(*hue) % 360 / 360, rng.uniform(*saturation), rng.uniform(*value)))


def _paving(rng: np.random.Generator) -> Colour:
    return _tone(rng, (10, 70) if rng.random() < 0.7 else (190, 250), (0.02, 0.18), (0.25, 0.8))


def _grass(rng: np.random.Generator) -> Colour:
    return _tone(rng, (60, 110), (0.25, 0.6), (0.2, 0.5))


def _wall(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.12:  # a painted wall, a container, a poster
        return _tone(rng, (0, 360), (0.3, 0.8), (0.3, 0.8))
    return _tone(rng, (8, 50) if rng.random() < 0.7 else (190, 260), (0.02, 0.4), (0.15, 0.9))


def sample_background(rng: np.random.Generator, camera: SyntheticCamera) -> FloatArray:
    """Return a random empty background in linear light, (height, width, 3) float32."""
    h, w = camera.height, camera.width
    rows, cols = np.mgrid[0:h, 0:w].astype(np.float32)
    rays = camera.view.directions(cols + 0.5, rows + 0.5)
    down = np.minimum(rays[..., 1], -1e-3)
    reach = camera.view.position[1] / -down
    x, z = rays[..., 0] * reach, rays[..., 2] * reach
    image = _ground(rng, x, z, h, w)
    _walls(rng, image, camera)
    for _ in range(int(rng.integers(2, 9))):
        depth = float(rng.uniform(camera.near, camera.far * 1.2))
        across = rng.uniform(-0.6, 0.6) * depth * w / camera.view.focal
        (u, v), along = camera.view.project(np.array([across, 0.0, depth], dtype=np.float32))
        unit = camera.view.focal / max(float(along), 1.0)  # pixels in a metre there
        draw_object(image, float(u), float(v), unit, int(rng.integers(5)), rng)
    image *= (1 + 0.10 * noise(rng, h, w, 90.0))[..., None]
    image *= (1 + 0.07 * noise(rng, h, w, 9.0, 2))[..., None]
    if rng.random() < 0.4:  # shadows of trees and buildings across everything
        shade = noise(rng, h, w, float(rng.uniform(60, 220)), 2) > rng.uniform(-0.1, 0.4)
        soft = cv2.GaussianBlur(shade.astype(np.float32), (0, 0), float(rng.uniform(1.5, 5)))
        image *= (1 - float(rng.uniform(0.2, 0.55)) * soft)[..., None]
    return np.clip(image, 0.002, 1.5).astype(np.float32)


def _ground(rng: np.random.Generator, x: FloatArray, z: FloatArray, h: int, w: int) -> FloatArray:
    """Return paving with joints, asphalt with lines, or grass, with a border between two kinds."""
    far = np.clip(12 / np.maximum(z, 1), 0, 1)  # detail fades with distance before it aliases
    image = np.broadcast_to(_paving(rng), (h, w, 3)).copy()
    if rng.integers(3) == 0:
        tile, line = rng.uniform(0.4, 1.5), rng.uniform(0.15, 0.45)
        joint = ((x / tile) % 1 < 0.06) | ((z / tile) % 1 < 0.06)
        image *= (1 - line * joint * far)[..., None]
    if rng.random() < 0.65:
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-3, 3)
        border = x * np.cos(angle) + (z - 10) * np.sin(angle) + 0.7 * np.sin(0.4 * x)
        image[border > offset] = _grass(rng) if rng.random() < 0.6 else _paving(rng)
        if rng.random() < 0.6:
            image[np.abs(border - offset) < 0.12] = _paving(rng)
    for _ in range(int(rng.integers(0, 3))):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-6, 6)
        line = np.abs(x * np.cos(angle) + (z - 10) * np.sin(angle) - offset) < rng.uniform(0.04, 0.15)
        image[line] = _tone(rng, (40, 60), (0.0, 0.6), (0.6, 0.95))
    speckle = rng.normal(0, 1, (h, w)).astype(np.float32)
    return np.asarray(image * (1 + 0.07 * cv2.GaussianBlur(speckle, (0, 0), 0.8))[..., None], dtype=np.float32)


def _walls(rng: np.random.Generator, image: FloatArray, camera: SyntheticCamera) -> None:
    """Draw the far end: sky, buildings with windows and doors, hedges."""
    h, w = image.shape[:2]
    base = camera.horizon + camera.view.focal * camera.view.position[1] / (camera.far * rng.uniform(0.5, 1.3))
    foot = int(np.clip(base, 4, h * 0.75))
    sky = _tone(rng, (195, 230), (0.0, 0.35), (0.6, 1.0))
    top = int(np.clip(camera.horizon - rng.uniform(0.1, 0.6) * h, -h, h))
    image[: max(top, 0)] = sky
    left = 0
    while left < w:
        right = left + int(rng.uniform(0.12, 0.6) * w)
        low = foot + int(rng.uniform(-0.06, 0.06) * h)
        if rng.random() < 0.2:
            image[max(0, low - int(rng.uniform(0.08, 0.25) * h)) : low, left:right] = _grass(rng) * 0.6
        else:
            image[max(top, 0) : low, left:right] = _wall(rng)
            _openings(rng, image, left, min(right, w), low)
        left = right


def _openings(rng: np.random.Generator, image: FloatArray, left: int, right: int, low: int) -> None:
    style = rng.integers(4)
    if style == 0:
        step = int(rng.integers(4, 9))
        image[low % step : low : step, left:right] *= 0.8
        return
    pitch, size = int(rng.uniform(24, 80)), rng.uniform(0.35, 0.75)
    tall = int(rng.uniform(24, 110))
    glass = _tone(rng, (190, 230), (0.05, 0.3), (0.08, 0.7)) if rng.random() < 0.8 else _wall(rng)
    floor = 0 if style == 1 else int(rng.uniform(0, 50))
    for x in range(left + pitch // 4, right, pitch):
        bottom = low - floor
        while bottom > 0:
            a, b = max(0, bottom - tall), bottom
            image[a:b, x : min(x + int(pitch * size), right)] = glass
            image[a : a + 2, x : min(x + int(pitch * size), right)] *= 0.6
            if style == 1:
                break
            bottom -= int(tall * 1.5) + 8


def draw_object(image: FloatArray, x: float, y: float, unit: float, kind: int, rng: np.random.Generator) -> None:
    """Draw a post, bush, box, car or board (kind 0-4) with its foot at (x, y) pixels, at `unit` pixels per metre."""
    h, w = image.shape[:2]

    def box(x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        a, b = np.clip([y - y1 * unit, y - y0 * unit], 0, h).astype(int)
        c, d = np.clip([x + x0 * unit, x + x1 * unit], 0, w).astype(int)
        image[a:b, c:d] = colour * np.linspace(1.1, 0.85, max(b - a, 1), dtype=np.float32)[: b - a, None, None]

    if kind == 0:
        half = rng.uniform(0.03, 0.12)
        box(-half, 0, half, rng.uniform(1.0, 5.0), _wall(rng))
        if rng.random() < 0.4:
            box(-0.35, 1.6, 0.35, 2.3, _tone(rng, (0, 360), (0.2, 0.9), (0.4, 0.95)))
    elif kind == 1:
        _bush(image, x, y, unit * rng.uniform(0.5, 1.4), rng)
    elif kind == 2:
        wide = rng.uniform(0.25, 0.9)
        box(-wide, 0, wide, rng.uniform(0.4, 1.3), _wall(rng))
    elif kind == 3:
        paint = _tone(rng, (0, 360), (0.0, 0.7), (0.1, 0.95))
        box(-1.9, 0.25, 1.9, 0.9, paint)
        box(-1.2, 0.9, 1.0, 1.4, _tone(rng, (190, 220), (0.0, 0.2), (0.08, 0.4)))
        box(-1.4, 0, -0.9, 0.4, linear((0.08, 0.08, 0.08)))
        box(0.9, 0, 1.4, 0.4, linear((0.08, 0.08, 0.08)))
    else:
        box(-0.4, 0.6, 0.4, 1.7, _tone(rng, (0, 360), (0.1, 0.9), (0.4, 0.95)))
        box(-0.03, 0, 0.03, 0.6, linear((0.3, 0.3, 0.3)))


def _bush(image: FloatArray, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    h, w = image.shape[:2]
    a, b = np.clip([y - 1.6 * radius, y], 0, h).astype(int)
    c, d = np.clip([x - 1.2 * radius, x + 1.2 * radius], 0, w).astype(int)
    if b - a < 3 or d - c < 3:
        return
    rows, cols = np.mgrid[a:b, c:d].astype(np.float32)
    inside = ((cols - x) / (1.2 * radius)) ** 2 + ((rows - y + 0.7 * radius) / (0.9 * radius)) ** 2
    leaves = noise(rng, b - a, d - c, max(3.0, radius / 3))
    mask = inside + 0.5 * leaves < 0.9
    shade = np.clip(0.75 + 0.5 * leaves, 0.25, 1.3)[..., None]
    image[a:b, c:d] = np.where(mask[..., None], _grass(rng) * shade, image[a:b, c:d])
