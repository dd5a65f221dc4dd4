"""Sunlight on a scene: the shadows of people, and the shade of trees and buildings that lies across them."""

from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.arrays import Float32Array, FloatArray
from vestigo_models.synthetic.geometry.raycast import Raster, Solids
from vestigo_models.synthetic.materials.shadows import ShadowMap, cast_shadow_map, ground_shadow
from vestigo_models.synthetic.presets import Preset
from vestigo_models.synthetic.world import Setting

MIN_SUN = 0.5
"""Least sunlight, relative to that of a clear sky, that casts shadows."""


def cast_sun_shadow(
    preset: Preset, setting: Setting, solids: Solids, image: FloatArray, raster: Raster
) -> ShadowMap | None:
    """Darken the ground of `image`, which shows `raster`, behind a body in the sun, and return the shadow map.

    Returns None if the preset has no shadows or the sun is weak.
    """
    light = setting.light
    if not preset.shadows or float(light.sun.max()) < MIN_SUN:
        return None
    shadow = cast_shadow_map(solids, light.direction)
    sunlight = light.sun * light.direction[1]
    taken = ground_shadow(shadow, setting.camera.view, raster)[..., None]
    image *= 1 - np.float32(preset.shadows) * taken * (sunlight / (sunlight + light.sky))
    return shadow


@dataclass(frozen=True)
class Shade:
    """The shade of something outside the view, with an edge across the crop."""

    angle: float  # radians, of the edge's normal
    offset: float  # of the edge from the middle, fraction of the height
    factor: float  # brightness in the shade
    softness: float  # width of the edge, fraction of the height
    leaves: int  # seed of gaps between leaves; 0 has none

    def mask(self, rows: int, cols: int) -> Float32Array:
        """Return the brightness of each pixel, (rows, cols, 1)."""
        y, x = np.mgrid[0:rows, 0:cols].astype(np.float32) / rows - 0.5
        away = x * np.cos(self.angle) + y * np.sin(self.angle) - self.offset
        if self.leaves:
            gaps = np.random.default_rng(self.leaves).standard_normal((9, 5), dtype=np.float32)
            away += 0.25 * cv2.resize(gaps, (cols, rows), interpolation=cv2.INTER_CUBIC)
        lit = 1 / (1 + np.exp(np.clip(-away / self.softness, -30, 30)))
        return np.asarray((self.factor + (1 - self.factor) * lit)[..., None], dtype=np.float32)


def sample_shade(rng: np.random.Generator) -> Shade:
    """Return a random shade with a straight edge or with gaps between leaves."""
    return Shade(
        angle=float(rng.uniform(0, 2 * np.pi)),
        offset=float(rng.uniform(-0.3, 0.3)),
        factor=float(rng.uniform(0.35, 0.75)),
        softness=float(np.exp(rng.uniform(np.log(0.005), np.log(0.08)))),
        leaves=int(rng.integers(1, 2**31)) if rng.random() < 0.5 else 0,
    )
