"""From hits to linear light: sun, sky, the ground's reflection, and soft ambient occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.synthetic.geometry.body import Body
from vestigo_models.synthetic.geometry.raycast import Floats, Hits, Raster, View, cast
from vestigo_models.synthetic.materials.shading__texture import surface
from vestigo_models.synthetic.people import Person


@dataclass(frozen=True, kw_only=True)
class Light:
    """Illumination in linear RGB: a sun, the sky from above and what the ground throws back."""

    direction: Floats  # (3,) unit, towards the sun
    sun: Floats
    sky: Floats
    ground: Floats


@dataclass(frozen=True)
class Layer:
    """A rendered person on a raster: colour is 0 and region 0 where nothing was hit; depth is inf there."""

    colour: Floats  # (rows, cols, 3) linear
    region: NDArray[np.uint8]  # (rows, cols)
    depth: Floats  # (rows, cols) metres

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the person is."""
        return self.region > 0


def render_layer(person: Person, body: Body, view: View, raster: Raster, light: Light) -> Layer:
    """Ray-cast and shade one person."""
    hits = cast(body.solids, view, raster)
    shape = (raster.rows, raster.cols)
    depth = np.full(raster.rows * raster.cols, np.inf, dtype=np.float32)
    depth[hits.pixel] = hits.distance
    distance = depth.reshape(shape)
    albedo, region, gloss = surface(person, body, hits)
    facing = np.clip(hits.normal @ light.direction, 0, None)
    above = (0.5 + 0.5 * hits.normal[:, 1])[:, None]
    occlusion = _occlusion(distance, raster).ravel()[hits.pixel]
    ambient = (above * light.sky + (1 - above) * light.ground) * occlusion[:, None]
    direct = facing[:, None] * light.sun * (0.35 + 0.65 * occlusion[:, None])
    half = light.direction - _towards(hits, view)
    half /= np.sqrt(np.einsum("ni,ni->n", half, half))[:, None] + 1e-6
    shine = gloss * np.clip(np.einsum("ni,ni->n", hits.normal, half), 0, 1) ** 12
    lit = albedo * (ambient + direct) + shine[:, None] * light.sun
    colour = np.zeros((raster.rows * raster.cols, 3), dtype=np.float32)
    colour[hits.pixel] = lit
    regions = np.zeros(raster.rows * raster.cols, dtype=np.uint8)
    regions[hits.pixel] = region
    return Layer(colour.reshape(*shape, 3), regions.reshape(shape), distance)


def _towards(hits: Hits, view: View) -> Floats:
    ray = hits.point - view.position
    return np.asarray(ray / np.sqrt(np.einsum("ni,ni->n", ray, ray))[:, None], dtype=np.float32)


def _occlusion(depth: Floats, raster: Raster) -> Floats:
    """Darken what lies behind its neighbourhood: arms over the body, one leg behind the other."""
    near = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
    mask = np.isfinite(depth).astype(np.float32)
    size = max(3, raster.rows // 14)
    weight = cv2.blur(mask, (size, size))
    mean = cv2.blur(near, (size, size)) / np.maximum(weight, 1e-3)
    return np.asarray(np.clip(1 - 3.2 * np.clip(near - mean, 0, 0.16), 0.45, 1), dtype=np.float32)
