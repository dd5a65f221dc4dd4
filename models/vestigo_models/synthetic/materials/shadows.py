"""Shadows of the sun: the body seen from the light, for self shadows and for the shadow on the ground."""

from dataclasses import dataclass

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, FloatArray
from vestigo_models.synthetic.geometry.raycast import Raster, Solids, Viewpoint, bounding_boxes, cast_rays

DISTANCE = 15.0  # metres from the body: rays are nearly parallel, and 32-bit intersections still precise
ROWS = 48  # of a shadow map
THIN = 0.036  # metres: hands, straps and locks of hair cast no shadow of their own
BIAS = 0.05  # metres by which a surface must lie behind another to be in its shadow


@dataclass(frozen=True)
class ShadowMap:
    """Distances to the nearest surface, seen from the sun; inf where the sun passes the body."""

    view: Viewpoint
    raster: Raster
    depth: Float32Array  # (rows, cols)

    def is_shaded(self, points: FloatArray, bias: float = BIAS) -> BoolArray:
        """Return which points (N, 3) in the world lie in the shadow of the body, (N,)."""
        pixels, depth = self.view.project(points)
        raster = self.raster
        col = np.floor((pixels[:, 0] - raster.x) * (raster.cols / raster.width)).astype(int)
        row = np.floor((pixels[:, 1] - raster.y) * (raster.rows / raster.height)).astype(int)
        inside = (col >= 0) & (col < raster.cols) & (row >= 0) & (row < raster.rows)
        nearest = self.depth[np.clip(row, 0, raster.rows - 1), np.clip(col, 0, raster.cols - 1)]
        return np.asarray(inside & (nearest < depth - bias))


def cast_shadow_map(solids: Solids, direction: FloatArray) -> ShadowMap:
    """Return the shadow map of a body for light from `direction` (3,), a unit vector towards the sun."""
    solids = solids.subset(np.maximum(solids.radius0, solids.radius1) > THIN)
    right = np.cross((0.0, 1.0, 0.0), -direction)
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(-direction, right), -direction)).astype(np.float32)
    position = (solids.origin.mean(axis=0) + DISTANCE * direction).astype(np.float32)
    view = Viewpoint(position, rotation, DISTANCE, (0.0, 0.0))  # a pixel is a metre
    boxes = bounding_boxes(solids, view)
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    columns = max(8, round(ROWS * float((x1 - x0) / (y1 - y0))))
    raster = Raster(float(x0), float(y0), float(x1 - x0), float(y1 - y0), ROWS, columns)
    hits = cast_rays(solids, view, raster)
    depth = np.full(ROWS * columns, np.inf, dtype=np.float32)
    depth[hits.pixel] = hits.distance
    return ShadowMap(view, raster, depth.reshape(ROWS, columns))


def ground_shadow(shadow: ShadowMap, view: Viewpoint, raster: Raster) -> Float32Array:
    """Return how much of the sun the body takes from the ground at each sample, (rows, cols), 0..1."""
    cols = raster.x + (np.arange(raster.cols) + 0.5) * (raster.width / raster.cols)
    rows = raster.y + (np.arange(raster.rows) + 0.5) * (raster.height / raster.rows)
    x, y = np.meshgrid(cols.astype(np.float32), rows.astype(np.float32))
    rays = view.directions(x, y).reshape(-1, 3)
    down = np.flatnonzero(rays[:, 1] < -0.02)
    shade = np.zeros(len(rays), dtype=np.float32)
    if len(down):
        reach = view.position[1] / -rays[down, 1]
        shade[down] = shadow.is_shaded(view.position + rays[down] * reach[:, None], bias=-1.0)
    soft = cv2.GaussianBlur(shade.reshape(raster.rows, raster.cols), (0, 0), max(0.5, raster.rows / 160))
    return np.asarray(soft, dtype=np.float32)
