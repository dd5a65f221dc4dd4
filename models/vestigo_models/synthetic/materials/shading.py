"""Shading: hits to linear light of sun, sky and ground, with ambient occlusion."""

from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, FloatArray, Int64Array, UInt8Array
from vestigo_models.schemas.regions import BELONGINGS, HEAD
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.geometry.body import Body
from vestigo_models.synthetic.geometry.raycast import Hits, Raster, Viewpoint, cast_rays, cross
from vestigo_models.synthetic.materials import fabric, relief
from vestigo_models.synthetic.materials.clothes import BodyPart, Material, Pattern
from vestigo_models.synthetic.materials.face import paint_face
from vestigo_models.synthetic.materials.shadows import ShadowMap
from vestigo_models.synthetic.people import Person


@dataclass(frozen=True)
class Surface:
    """Properties of the N hits."""

    albedo: FloatArray  # (N, 3) linear
    region: UInt8Array  # (N,)
    gloss: FloatArray  # (N,)
    slope: FloatArray | None  # (N, 2) of the folds, around and along the solid; None without folds


def surface(person: Person, body: Body, hits: Hits) -> Surface:
    """Return the surface properties of every hit."""
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
    slope = None if not any(m.relief for m in person.materials) else np.zeros((len(part), 2), dtype=np.float32)
    for index, material in enumerate(person.materials):
        chosen = np.flatnonzero(part == index)
        if not len(chosen):
            continue
        cu, cv, on = u[chosen], v[chosen], torso[chosen]
        gloss[chosen] = material.gloss
        if slope is not None and material.relief:
            slope[chosen] = material.relief * relief.look_up(
                material.relief_kind, cu + material.phase, cv + 0.37 * hits.solid[chosen]
            )
        if material.fabric:
            # The details of a garment are on the trunk, not on the sleeves.
            texture = fabric.bake(material.fabric, placed=index != BodyPart.SLEEVE)
            albedo[chosen] = fabric.look_up(texture, cu, cv)
            continue
        mix = _mix(material, cu, cv, angle[chosen], on)[:, None]
        colour = material.colour + (material.second - material.colour) * mix
        albedo[chosen] = colour * _folds(material, cu, cv)
    if person.face:
        _paint_face(person, albedo, np.flatnonzero((part == BodyPart.SKIN) & (region == HEAD)), chest)
    strap = torso & (part == BodyPart.UPPER) & _strap(person, chest)
    albedo[strap] = person.materials[BodyPart.BELONGING].colour * 0.8
    region[strap] = BELONGINGS
    return Surface(albedo, region, gloss, slope)


def _paint_face(person: Person, albedo: FloatArray, chosen: Int64Array, chest: FloatArray) -> None:
    """Paint the face of a person over the albedo of the chosen hits, whose places are in the chest's frame."""
    if person.face is None or not len(chosen):
        return
    unit = person.shape.unit
    size = person.shape.head * (0.5 + 0.5 * unit)
    x, y, z = (chest[chosen] / size).T
    # The middle of the head in `geometry.body`.
    painted = albedo[chosen]
    paint_face(painted, person.face, person.materials[BodyPart.HAIR].colour, x, y - 0.475 * unit / size - 0.115, z)
    albedo[chosen] = painted


def _tilt(normal: FloatArray, along: FloatArray, slope: FloatArray) -> FloatArray:
    """Return unit normals (N, 3) tilted by slopes (N, 2) around and along the directions `along` (N, 3)."""
    tilted = normal - slope[:, :1] * cross(along, normal) - slope[:, 1:] * along
    return np.asarray(tilted / np.sqrt(np.einsum("ni,ni->n", tilted, tilted))[:, None], dtype=np.float32)


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


def render_layer(
    person: Person, body: Body, view: Viewpoint, raster: Raster, light: Light, shadow: ShadowMap | None = None
) -> Layer:
    """Return one person, ray-cast and shaded; the sun casts the body's shadow on itself if its map is given."""
    hits = cast_rays(body.solids, view, raster)
    seen = surface(person, body, hits)
    normal = hits.normal
    if seen.slope is not None:
        normal = _tilt(normal, body.solids.axes[hits.solid, :, 1], seen.slope)
    facing = np.clip(normal @ light.direction, 0, None)
    if shadow is not None:
        facing = facing * ~shadow.is_shaded(hits.point)
    above = (0.5 + 0.5 * normal[:, 1])[:, None]
    occlusion = _occlusion(hits, raster)
    ambient = (above * light.sky + (1 - above) * light.ground) * occlusion[:, None]
    direct = facing[:, None] * light.sun * (0.35 + 0.65 * occlusion[:, None])
    rays = hits.point - view.position
    towards = (rays / np.sqrt(np.einsum("ni,ni->n", rays, rays))[:, None]).astype(np.float32)
    half = light.direction - towards
    half /= np.sqrt(np.einsum("ni,ni->n", half, half))[:, None] + 1e-6
    shine = seen.gloss * np.clip(np.einsum("ni,ni->n", normal, half), 0, 1) ** 12
    lit = seen.albedo * (ambient + direct) + shine[:, None] * light.sun
    return Layer(hits.scatter(lit.astype(np.float32), raster), hits.scatter(seen.region, raster))


def _occlusion(hits: Hits, raster: Raster) -> FloatArray:
    """Return factors (N,) that darken hits behind their neighbourhood, such as one leg behind the other."""
    depth = hits.scatter(hits.distance, raster)
    mask = hits.scatter(np.ones(len(hits.pixel), dtype=np.float32), raster)
    size = max(3, raster.rows // 14)
    mean = cv2.blur(depth, (size, size)) / np.maximum(cv2.blur(mask, (size, size)), 1e-3)
    factors = np.clip(1 - 3.2 * np.clip(depth - mean, 0, 0.16), 0.45, 1).astype(np.float32)
    return np.asarray(factors.ravel()[hits.pixel])
