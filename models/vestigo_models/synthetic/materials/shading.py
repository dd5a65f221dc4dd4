"""Shading: hits to linear light of sun, sky and ground, with ambient occlusion."""

from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, FloatArray, UInt8Array
from vestigo_models.schemas.regions import BELONGINGS
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.geometry.body import Body
from vestigo_models.synthetic.geometry.raycast import Hits, Raster, Viewpoint, cast_rays
from vestigo_models.synthetic.materials.clothes import BodyPart, Material, Pattern
from vestigo_models.synthetic.people import Person


def surface(person: Person, body: Body, hits: Hits) -> tuple[FloatArray, UInt8Array, FloatArray]:
    """Return albedo (N, 3), region (N,) and gloss (N,) of every hit."""
    solids = body.solids
    part = solids.material[hits.solid]
    region = solids.region[hits.solid]
    torso = body.on_torso[hits.solid]
    chest = ((hits.point - body.chest_origin) @ body.chest_axes.T).astype(np.float32)
    place = np.where(torso[:, None], chest, hits.local)
    # Around and along the body or limb, in metres; angle 0 is the front.
    angle = np.arctan2(place[:, 0], place[:, 2])
    u = angle * np.where(torso, 0.15, 0.06).astype(np.float32)
    v = place[:, 1]
    albedo = np.empty((len(part), 3), dtype=np.float32)
    gloss = np.empty(len(part), dtype=np.float32)
    for index, material in enumerate(person.materials):
        chosen = np.flatnonzero(part == index)
        if not len(chosen):
            continue
        cu, cv, on = u[chosen], v[chosen], torso[chosen]
        mix = _mix(material, cu, cv, angle[chosen], on)[:, None]
        colour = material.colour + (material.second - material.colour) * mix
        albedo[chosen] = colour * _folds(material, cu, cv)
        gloss[chosen] = material.gloss
    strap = torso & (part == BodyPart.UPPER) & _strap(person, chest)
    albedo[strap] = person.materials[BodyPart.BELONGING].colour * 0.8
    region[strap] = BELONGINGS
    return albedo, region, gloss


def _folds(material: Material, u: FloatArray, v: FloatArray) -> FloatArray:
    """Return the brightness (n, 1) of creased cloth: waves of fixed directions."""
    total = np.ones(len(u), dtype=np.float32)
    for weight, (du, dv, phase) in zip((0.5, 0.3, 0.2), material.creases, strict=False):
        total += (weight * material.folds) * np.sin(u * du + v * dv + phase)
    return total[:, None]


def _mix(material: Material, u: FloatArray, v: FloatArray, angle: FloatArray, torso: BoolArray) -> FloatArray:
    """Return the share of the second colour at each point, 0..1."""
    period, share, phase = material.scale, material.share, material.phase

    def stripes(x: FloatArray, length: float) -> BoolArray:
        return np.asarray((x / length + phase) % 1.0 < share)

    where: BoolArray = np.zeros(len(u), dtype=bool)
    strength = 1.0
    match material.pattern:
        case Pattern.HORIZONTAL:
            where = stripes(v, period)
        case Pattern.VERTICAL:
            where = stripes(u, period * 0.7)
        case Pattern.CHECKS:
            strength, where = 0.8, stripes(u, period) ^ stripes(v, period)
        case Pattern.PLAID:
            return np.asarray(0.5 * stripes(u, period * 0.8) + 0.5 * stripes(v, period * 0.8), dtype=np.float32)
        case Pattern.BLOTCHES:
            f = np.float32(2.2 / period)
            waves = np.sin(u * f * 2 + 6 * phase + np.sin(v * f * 2.7)) + np.sin(v * f * 2.3 + 2 * np.sin(u * f * 1.7))
            where = waves > 1.5 - 3.0 * share
        case Pattern.PRINT:  # on the chest, or on the back
            away = np.pi - np.abs(angle) if phase > 0.7 else np.abs(angle)
            inside = (away < 0.3 + 1.2 * share) & (np.abs(v - 0.27) < 0.05 + 0.16 * share) & torso
            where = inside & (np.sin(u * 160 * (0.4 + phase)) * np.sin(v * 140) > -0.25)
        case Pattern.OPEN:  # a jacket over a shirt
            where = (np.abs(angle) < 0.22 + 0.5 * share) & torso & (v > -0.2)
        case Pattern.YOKE:
            where = (v > 0.36 - 0.15 * share) & torso
        case Pattern.BAND:
            where = (np.abs(v - 0.28 * (1 - phase)) < 0.015 + 0.06 * share) & torso
    return np.asarray(strength * where, dtype=np.float32)


def _strap(person: Person, chest: FloatArray) -> BoolArray:
    """Return which points are straps on the torso: two in front for a backpack, one loop for a bag."""
    x, y, z = chest[:, 0], chest[:, 1], chest[:, 2]
    if person.has(at.BACKPACK):
        return np.asarray((np.abs(np.abs(x) - 0.105) < 0.024) & (z > -0.04) & (y > 0.14))
    if person.has(at.BAG) and person.clothing.bag_style != 2:
        slope = person.clothing.bag_side * 1.25
        return np.asarray((np.abs(y - 0.24 + slope * -x) < 0.034) & (y > -0.05))
    if person.has(at.BAG):  # hung on one shoulder
        return np.asarray((np.abs(x - person.clothing.bag_side * 0.135) < 0.02) & (y > -0.05))
    return np.zeros(len(x), dtype=bool)


@dataclass(frozen=True)
class Light:
    """Illumination in linear RGB: sun, sky from above and reflection of the ground."""

    direction: FloatArray  # (3,) unit, towards the sun
    sun: FloatArray
    sky: FloatArray
    ground: FloatArray


@dataclass(frozen=True)
class Layer:
    """A rendered person on a raster. Samples without a hit have colour 0 and region 0."""

    colour: FloatArray  # (rows, cols, 3) linear
    region: UInt8Array  # (rows, cols)

    @property
    def mask(self) -> BoolArray:
        """Samples that show the person."""
        return self.region > 0


def render_layer(person: Person, body: Body, view: Viewpoint, raster: Raster, light: Light) -> Layer:
    """Return one person, ray-cast and shaded."""
    hits = cast_rays(body.solids, view, raster)
    albedo, region, gloss = surface(person, body, hits)
    facing = np.clip(hits.normal @ light.direction, 0, None)
    above = (0.5 + 0.5 * hits.normal[:, 1])[:, None]
    occlusion = _occlusion(hits, raster)
    ambient = (above * light.sky + (1 - above) * light.ground) * occlusion[:, None]
    direct = facing[:, None] * light.sun * (0.35 + 0.65 * occlusion[:, None])
    rays = hits.point - view.position
    towards = (rays / np.sqrt(np.einsum("ni,ni->n", rays, rays))[:, None]).astype(np.float32)
    half = light.direction - towards
    half /= np.sqrt(np.einsum("ni,ni->n", half, half))[:, None] + 1e-6
    shine = gloss * np.clip(np.einsum("ni,ni->n", hits.normal, half), 0, 1) ** 12
    lit = albedo * (ambient + direct) + shine[:, None] * light.sun
    return Layer(hits.scatter(lit.astype(np.float32), raster), hits.scatter(region, raster))


def _occlusion(hits: Hits, raster: Raster) -> FloatArray:
    """Return factors (N,) that darken hits behind their neighbourhood, such as one leg behind the other."""
    depth = hits.scatter(hits.distance, raster)
    mask = hits.scatter(np.ones(len(hits.pixel), dtype=np.float32), raster)
    size = max(3, raster.rows // 14)
    mean = cv2.blur(depth, (size, size)) / np.maximum(cv2.blur(mask, (size, size)), 1e-3)
    factors = np.clip(1 - 3.2 * np.clip(depth - mean, 0, 0.16), 0.45, 1).astype(np.float32)
    return np.asarray(factors.ravel()[hits.pixel])
