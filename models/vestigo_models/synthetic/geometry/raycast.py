"""Analytic ray casting of rounded cones and cone frusta, vectorised over the rectangle that each primitive can cover.

Each primitive has a local frame whose y axis runs from 0 to `length`. Rays are mapped affinely into it, so a rounded
cone is also a sphere, ellipsoid, capsule, limb or flattened torso, and a frustum a skirt, brim or bag.
"""

from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo_models.arrays import BoolArray, FloatArray, Int64Array, UInt8Array

ROUND_CONE, FRUSTUM = 0, 1


@dataclass(frozen=True)
class Solids:
    """P primitives. `frame` rows are the local axes (x, y, z) in the world, divided by the scale along them."""

    kind: Int64Array  # (P,) ROUND_CONE or FRUSTUM
    frame: FloatArray  # (P, 3, 3) world -> local
    axes: FloatArray  # (P, 3, 3) local -> world (its inverse)
    origin: FloatArray  # (P, 3) world, metres
    radius0: FloatArray  # (P,) at local y = 0
    radius1: FloatArray  # (P,) at local y = length
    length: FloatArray  # (P,)
    material: Int64Array  # (P,) index into the person's materials
    region: UInt8Array  # (P,) region id 1-5

    def subset(self, chosen: BoolArray) -> "Solids":
        """Return the primitives that a mask (P,) selects."""
        return Solids(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


@dataclass(frozen=True)
class Viewpoint:
    """A pinhole camera in the world: x right, y up, z forward in its own frame; pixel y grows downwards."""

    position: FloatArray  # (3,) metres
    rotation: FloatArray  # (3, 3) world -> camera
    focal: float  # pixels
    centre: tuple[float, float]  # principal point, pixels (x, y)

    def project(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the pixels (..., 2) of points (..., 3) and their depths (...), metres along the optical axis."""
        local = (points - self.position) @ self.rotation.T
        depth = np.maximum(local[..., 2], 0.05)
        x = self.centre[0] + self.focal * local[..., 0] / depth
        y = self.centre[1] - self.focal * local[..., 1] / depth
        return np.stack((x, y), axis=-1), local[..., 2]

    def directions(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return unit ray directions (..., 3) in the world through pixels x, y."""
        local = np.stack(
            ((x - self.centre[0]) / self.focal, (self.centre[1] - y) / self.focal, np.ones_like(x)), axis=-1
        )
        local /= np.linalg.norm(local, axis=-1, keepdims=True)
        return np.asarray(local @ self.rotation, dtype=np.float32)


@dataclass(frozen=True)
class Raster:
    """A window of the image plane, in pixels, sampled on rows x cols points."""

    x: float
    y: float
    width: float
    height: float
    rows: int
    cols: int


@dataclass(frozen=True)
class Hits:
    """The nearest hit of each of the N samples that meet a primitive."""

    pixel: Int64Array  # (N,) flat index into rows x cols
    solid: Int64Array  # (N,) index of the primitive
    distance: FloatArray  # (N,) metres of depth along the optical axis
    point: FloatArray  # (N, 3) world
    normal: FloatArray  # (N, 3) world, unit, towards the camera
    local: FloatArray  # (N, 3) hit in the primitive's frame

    def scatter(self, values: NDArray[Any], raster: Raster) -> NDArray[Any]:
        """Return values of the hits, (N, ...), at their samples, (rows, cols, ...); 0 at samples without a hit."""
        result = np.zeros((raster.rows * raster.cols, *values.shape[1:]), dtype=values.dtype)
        result[self.pixel] = values
        return result.reshape(raster.rows, raster.cols, *values.shape[1:])


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cross products (N, 3) of vectors (N, 3); `np.cross` is slow for few vectors."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), axis=1)


def bounding_boxes(solids: Solids, view: Viewpoint) -> FloatArray:
    """Return the projected bounding box of each primitive, (P, 4): x0, y0, x1, y1 in pixels."""
    reach = np.maximum(solids.radius0, solids.radius1)
    rounded = solids.kind == ROUND_CONE
    bottom = np.where(rounded, np.minimum(-solids.radius0, solids.length - solids.radius1), 0)
    top = np.where(rounded, np.maximum(solids.radius0, solids.length + solids.radius1), solids.length)
    low, high = np.stack((-reach, bottom, -reach), axis=1), np.stack((reach, top, reach), axis=1)
    takes_high = np.array(list(product((False, True), repeat=3)))
    corners = np.where(takes_high, high[:, None], low[:, None])  # P x 8 x 3
    world = np.einsum("pij,pcj->pci", solids.axes, corners) + solids.origin[:, None]
    pixels, _ = view.project(np.asarray(world, dtype=np.float32))
    return np.concatenate((pixels.min(axis=1), pixels.max(axis=1)), axis=1)


def cast_rays(solids: Solids, view: Viewpoint, raster: Raster) -> Hits:
    """Return the nearest hit of every sample of the raster; samples are at the centres of cells.

    Rays are affine in the pixel: direction = X * right + Y * up + forward. So `distance` is the depth along the optical
    axis, and every local direction is the sum of a row and a column.
    """
    x = ((np.arange(raster.cols) + 0.5) * (raster.width / raster.cols) + raster.x - view.centre[0]) / view.focal
    y = (view.centre[1] - (np.arange(raster.rows) + 0.5) * (raster.height / raster.rows) - raster.y) / view.focal
    x, y = x.astype(np.float32), y.astype(np.float32)
    # Per primitive: local ray start, and the local images of the camera's three axes.
    start = np.einsum("pij,pj->pi", solids.frame, view.position - solids.origin)
    basis = np.einsum("pij,cj->pci", solids.frame, view.rotation)
    depth = np.full((raster.rows, raster.cols), np.inf, dtype=np.float32)
    owner = np.full((raster.rows, raster.cols), -1, dtype=np.int16)
    with np.errstate(invalid="ignore", divide="ignore"):
        for p, (top, bottom, left, right) in enumerate(_windows(bounding_boxes(solids, view), raster)):
            if top >= bottom or left >= right:
                continue
            across = basis[p, 0][:, None] * x[left:right] + basis[p, 2][:, None]
            rays = across[:, None, :] + (basis[p, 1][:, None] * y[top:bottom])[:, :, None]
            solve = _round_cone if solids.kind[p] == ROUND_CONE else _frustum
            t = solve(start[p], rays, float(solids.radius0[p]), float(solids.radius1[p]), float(solids.length[p]))
            window = depth[top:bottom, left:right]
            np.copyto(owner[top:bottom, left:right], p, where=t < window)
            np.minimum(window, t, out=window)
    pixel = np.flatnonzero(owner.ravel() >= 0)
    solid = owner.ravel()[pixel].astype(np.int64)
    distance = depth.ravel()[pixel]
    row, col = np.divmod(pixel, raster.cols)
    rays = np.stack((x[col], y[row], np.ones(len(pixel), dtype=np.float32)), axis=1) @ view.rotation
    point = (view.position + distance[:, None] * rays).astype(np.float32)
    frame = solids.frame[solid]
    local = np.einsum("nij,nj->ni", frame, point - solids.origin[solid])
    normal = np.einsum("ni,nij->nj", _normals(solids, solid, local), frame)
    normal /= np.sqrt(np.einsum("ni,ni->n", normal, normal))[:, None] + 1e-9
    return Hits(pixel, solid, distance, point, normal, local)


def _windows(boxes: FloatArray, raster: Raster) -> list[list[int]]:
    """Return the sample ranges (top, bottom, left, right) that each primitive's box covers."""
    cells_per_pixel = np.array([raster.cols / raster.width, raster.rows / raster.height] * 2)
    cells = (boxes - np.array([raster.x, raster.y] * 2)) * cells_per_pixel
    limit = np.array([raster.cols, raster.rows] * 2)
    edges = np.clip(np.concatenate((np.ceil(cells[:, :2] - 0.5), np.floor(cells[:, 2:] + 0.5)), axis=1), 0, limit)
    return list(edges.astype(np.int64)[:, [1, 3, 0, 2]].tolist())


def _round_cone(o: FloatArray, d: FloatArray, r0: float, r1: float, length: float) -> FloatArray:
    """Return the depth of the hull of two spheres at y = 0 and y = length, inf where rays miss.

    Rays start at o (3,) and have the directions d (3, rows, cols).
    """
    ox, oy, oz = o.tolist()
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = ox * d[0] + oy * d[1] + oz * d[2]
    c = ox * ox + oy * oy + oz * oz

    def sphere(b: FloatArray, c: float) -> FloatArray:
        return np.asarray((-b - np.sqrt(b * b - a * c)) / a)

    if length < 1e-6:
        t = sphere(b, c - r0 * r0)
        return np.where(t > 0, t, np.inf)
    t0 = sphere(b, c - r0 * r0)
    t1 = sphere(b - length * d[1], c - 2 * length * oy + length * length - r1 * r1)
    best = np.fmin(np.where(t0 > 0, t0, np.inf), np.where(t1 > 0, t1, np.inf))
    # The mantle touches both spheres. With q <= 0 one sphere contains the other, and there is no mantle.
    slope = (r0 - r1) / length
    q = 1 - slope * slope
    if q <= 0:
        return np.asarray(best)
    k2 = q * a - d[1] * d[1]
    k1 = q * b - (oy - slope * r0) * d[1]
    k0 = q * c - oy * oy + 2 * slope * r0 * oy - r0 * r0
    t = (-k1 - np.sqrt(k1 * k1 - k0 * k2)) / k2
    y = t * d[1] + (oy - slope * r0)
    return np.where((y > 0) & (y < q * length) & (t > 0) & (t < best), t, best)


def _frustum(o: FloatArray, d: FloatArray, r0: float, r1: float, length: float) -> FloatArray:
    """Return the depth of a cone frustum with flat ends at y = 0 and y = length, inf where rays miss."""
    ox, oy, oz = o.tolist()
    slope = (r1 - r0) / length
    rim = r0 + slope * oy
    k2 = d[0] * d[0] + d[2] * d[2] - (slope * d[1]) ** 2
    k1 = ox * d[0] + oz * d[2] - (slope * rim) * d[1]
    k0 = ox * ox + oz * oz - rim * rim
    root = np.sqrt(k1 * k1 - k0 * k2)
    best = np.full(k1.shape, np.inf, dtype=np.float32)
    for t in ((-k1 - root) / k2, (-k1 + root) / k2):
        y = oy + t * d[1]
        best = np.where((y >= 0) & (y <= length) & (t > 0) & (t < best), t, best)
    for level, radius in ((0.0, r0), (length, r1)):
        t = (level - oy) / d[1]
        x, z = ox + t * d[0], oz + t * d[2]
        best = np.where((x * x + z * z <= radius * radius) & (t > 0) & (t < best), t, best)
    return best


def _normals(solids: Solids, solid: Int64Array, local: FloatArray) -> FloatArray:
    """Return outward normals in local space; the affine map transforms them as covectors."""
    length, r0, r1 = solids.length[solid], solids.radius0[solid], solids.radius1[solid]
    slope = (r0 - r1) / np.maximum(length, 1e-6)
    # The point of the axis where the normal of the rounded cone starts; constant on the end spheres.
    foot = np.clip((local[:, 1] - slope * r0) / np.maximum(1 - slope * slope, 1e-3), 0, length)
    normal = local.copy()
    normal[:, 1] = local[:, 1] - foot
    flat = np.flatnonzero(solids.kind[solid] == FRUSTUM)
    if len(flat):
        y, top = local[flat, 1], length[flat]
        edge = 1e-3 * top
        cap = np.where(y < edge, -1.0, np.where(y > top - edge, 1.0, 0.0))
        around = np.hypot(local[flat, 0], local[flat, 2])
        inside = around < 0.995 * (r0[flat] - slope[flat] * y)
        end = (cap != 0) & inside
        normal[flat, 0] = np.where(end, 0, local[flat, 0])
        normal[flat, 2] = np.where(end, 0, local[flat, 2])
        normal[flat, 1] = np.where(end, cap, slope[flat] * around)
    return normal
