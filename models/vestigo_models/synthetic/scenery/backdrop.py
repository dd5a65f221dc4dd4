"""Backdrops: pavement, lawn, facades and props of one camera's view, with the texture of photographs."""

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, FloatArray
from vestigo_models.synthetic.camera import SyntheticCamera
from vestigo_models.synthetic.materials.clothes import Colour
from vestigo_models.synthetic.scenery.props import clutter, draw_prop, foliage_palette, paint, tone
from vestigo_models.synthetic.scenery.spectra import dead_leaves, power_noise

SATURATION = 0.6
"""Saturation of backgrounds: those of crops of Market-1501 have half the saturation of clothes."""


def sample_backdrop(rng: np.random.Generator, camera: SyntheticCamera) -> FloatArray:
    """Return a random empty background in linear light, (height, width, 3) float32."""
    h, w = camera.height, camera.width
    rows, cols = np.mgrid[0:h, 0:w].astype(np.float32)
    rays = camera.view.directions(cols + 0.5, rows + 0.5)
    reach = camera.view.position[1] / -np.minimum(rays[..., 1], -1e-3)
    x, z = rays[..., 0] * reach, rays[..., 2] * reach
    image = _ground(rng, x, z)
    _facades(rng, image, camera)
    depths = np.sort(rng.uniform(camera.near, camera.far * 1.4, int(rng.integers(6, 40))))[::-1]
    crowd = int(rng.integers(8)) if rng.random() < 0.5 else None  # many props of one kind: a rack, a fence
    for depth in depths.tolist():
        across = rng.uniform(-0.6, 0.6) * depth * w / camera.view.focal
        (u, v), along = camera.view.project(np.array([across, 0.0, depth], dtype=np.float32))
        unit = camera.view.focal / max(float(along), 1.0)
        draw_prop(image, float(u), float(v), unit, rng, crowd if rng.random() < 0.6 else None)
    gray = image.mean(axis=2, keepdims=True)
    image = np.asarray(gray + SATURATION * (image - gray), dtype=np.float32)
    image *= np.exp(0.22 * power_noise(rng, h, w, 1.1))[..., None]
    image *= np.exp(0.10 * power_noise(rng, h, w, 0.4))[..., None]
    if rng.random() < 0.4:  # shadows of trees and buildings across everything
        shade = power_noise(rng, h, w, float(rng.uniform(1.2, 2.2))) > rng.uniform(-0.3, 1.0)
        soft = cv2.GaussianBlur(shade.astype(np.float32), (0, 0), float(rng.uniform(1.0, 5)))
        image *= (1 - float(rng.uniform(0.2, 0.6)) * soft)[..., None]
    return np.clip(image, 0.002, 1.5).astype(np.float32)


def _paving(rng: np.random.Generator) -> Colour:
    return tone(rng, (10, 50) if rng.random() < 0.6 else (190, 260), (0.0, 0.14), (0.3, 0.72))


def _ground(rng: np.random.Generator, x: FloatArray, z: FloatArray) -> FloatArray:
    """Return pavement with its tiles, lawns, bands, kerbs and lines."""
    image = _floor(rng, x, z)
    for _ in range(int(rng.integers(0, 3))):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-4, 4)
        border = x * np.cos(angle) + (z - 10) * np.sin(angle) + rng.uniform(0, 0.8) * np.sin(0.4 * x)
        beyond = border > offset if rng.random() < 0.6 else np.abs(border - offset) < rng.uniform(0.2, 1.2)
        image[beyond] = (_lawn(rng, x) if rng.random() < 0.35 else _floor(rng, x, z))[beyond]
        kerb = np.abs(border - offset) < 0.1
        if rng.random() < 0.6:
            image[kerb] = _paving(rng) * rng.uniform(0.6, 1.3)
    for _ in range(int(rng.integers(0, 3))):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-6, 6)
        line = np.abs(x * np.cos(angle) + (z - 10) * np.sin(angle) - offset) < rng.uniform(0.04, 0.15)
        image[line] = tone(rng, (40, 60), (0.0, 0.5), (0.5, 0.9))
    return image


def _floor(rng: np.random.Generator, x: FloatArray, z: FloatArray) -> Float32Array:
    """Return a floor of tiles, bricks or asphalt over ground coordinates x, z in metres."""
    image = np.empty((*x.shape, 3), dtype=np.float32)
    image[:] = _paving(rng)
    if rng.random() < 0.3:
        return image
    angle = rng.uniform(0, np.pi)
    across, along = x * np.cos(angle) + z * np.sin(angle), z * np.cos(angle) - x * np.sin(angle)
    long, wide = float(rng.uniform(0.2, 1.2)), float(rng.uniform(0.1, 0.8))
    row = np.floor(along / wide)
    shifted = across / long + (0.5 * (row % 2) if rng.random() < 0.5 else 0)
    fade = np.clip(14 / np.maximum(z, 1), 0.15, 1)  # detail fades with distance before it aliases
    # A hash of the tile's indices gives each its own brightness.
    hashed = np.abs(np.sin(row * 12.9898 + np.floor(shifted) * 78.233) * 43758.5453) % 1
    image *= (1 + rng.uniform(0.1, 0.5) * (hashed - 0.5) * fade)[..., None]
    joint: BoolArray = (shifted % 1 < 0.02 / long + 0.02) | (along / wide % 1 < 0.02 / wide + 0.02)
    image *= (1 - rng.uniform(0.15, 0.5) * joint * fade)[..., None]
    if rng.random() < 0.3:  # some tiles in another colour
        image[hashed > rng.uniform(0.5, 0.9)] *= tone(rng, (0, 50), (0.1, 0.4), (0.7, 1.0)) * 1.3
    return np.asarray(image, dtype=np.float32)


def _lawn(rng: np.random.Generator, x: FloatArray) -> Float32Array:
    h, w = x.shape
    palette = foliage_palette(rng)
    blades = np.clip(1 + 0.35 * power_noise(rng, h, w, 0.3), 0.3, 2.0)
    return np.asarray(palette.mean(axis=0) * blades[..., None], dtype=np.float32)


def _facades(rng: np.random.Generator, image: FloatArray, camera: SyntheticCamera) -> None:
    """Draw the far end: walls with windows, doors and shops, hedges, stairs, dark passages."""
    h, w = image.shape[:2]
    base = camera.horizon + camera.view.focal * camera.view.position[1] / (camera.far * rng.uniform(0.35, 1.1))
    foot = int(np.clip(base, 4, h * 0.8))
    left = 0
    while left < w:
        right = min(w, left + int(rng.uniform(0.1, 0.6) * w))
        low = max(4, foot + int(rng.uniform(-0.08, 0.08) * h))
        image[:low, left:right] = _facade(rng, low, right - left)
        if rng.random() < 0.3:  # stairs or a plinth
            step = max(2, int(rng.uniform(0.01, 0.03) * h))
            for level in range(int(rng.integers(1, 5))):
                image[low + level * step : low + level * step + max(1, step // 3), left:right] *= 0.55
        left = right


def _facade(rng: np.random.Generator, h: int, w: int) -> Float32Array:
    kind = rng.choice(6, p=[0.26, 0.16, 0.16, 0.16, 0.14, 0.12])
    if kind == 0:
        return clutter(rng, h, w)
    if kind == 1:
        return dead_leaves(rng, h, w, foliage_palette(rng), min(3500, h * w // 8), 1.0, 6.0)
    if kind == 2:  # a dark passage or glass
        return np.asarray(clutter(rng, h, w) * rng.uniform(0.05, 0.3), dtype=np.float32)
    wall = np.empty((h, w, 3), dtype=np.float32)
    wall[:] = paint(rng) if rng.random() < 0.2 else tone(rng, (8, 50), (0.0, 0.3), (0.15, 0.85))
    if kind == 3:  # brick or panels
        step, long = int(rng.integers(4, 26)), int(rng.integers(8, 60))
        wall[::step] *= 0.65
        for row in range(0, h, step):
            wall[row : row + step, (row // step % 2) * long // 2 :: long] *= 0.7
    else:
        pitch, tall = int(rng.integers(20, 80)), int(rng.integers(24, 120))
        inside = clutter(rng, tall, pitch) * rng.uniform(0.15, 0.8)
        wide = int(pitch * rng.uniform(0.4, 0.9))
        for bottom in range(h, 0, -int(tall * rng.uniform(1.1, 1.8)) - 4):
            top = max(0, bottom - tall)
            for x in range(pitch // 5, w - wide, pitch):
                wall[top:bottom, x : x + wide] = inside[: bottom - top, :wide]
                wall[top:bottom, x : x + 2] *= 0.5
            if kind == 5:
                break
    return wall
