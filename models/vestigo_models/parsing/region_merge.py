"""From a parser's classes to region probabilities on a coarse grid (specification, section 4, merging)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.parsing.label_maps import LabelSet
from vestigo_models.schemas.regions import LOWER, REGIONS, UPPER

Probabilities = NDArray[np.float32]
Labels = NDArray[np.uint8]

GRID = (64, 32)
"""Rows and columns of the maps that FLS works on: a quarter of 256 x 128."""


def merge(classes: Probabilities, labels: LabelSet, grid: tuple[int, int] = GRID) -> Probabilities:
    """Sum class probabilities (h x w x classes) per region and average them over cells: K x rows x columns.

    A dress is upper body above the middle of the person's vertical extent and lower body below it.
    """
    height, width = classes.shape[:2]
    regions = np.zeros((height, width, len(REGIONS)), dtype=np.float32)
    for index, region in enumerate(labels.regions):
        regions[..., region] += classes[..., index]
    if labels.split:
        below = classes[..., labels.split].sum(axis=-1)
        below[: middle_row(np.array(labels.regions)[classes.argmax(axis=-1)] > 0)] = 0
        regions[..., UPPER] -= below
        regions[..., LOWER] += below
    # INTER_AREA averages; it takes at most four channels at a time.
    cells = [cv2.resize(regions[..., k], (grid[1], grid[0]), interpolation=cv2.INTER_AREA) for k in range(len(REGIONS))]
    return np.stack(cells).astype(np.float32)


def merge_hard(found: Labels, labels: LabelSet, grid: tuple[int, int] = GRID) -> Probabilities:
    """The same of a label map (h x w of class ids): every pixel is sure."""
    return merge(np.eye(len(labels), dtype=np.float32)[found], labels, grid)


def merge_labels(found: Labels, labels: LabelSet) -> Labels:
    """The region id of every pixel of a label map, h x w of class ids; a dress is halved as in `merge`."""
    regions = np.array(labels.regions, dtype=np.uint8)[found]
    if labels.split:
        below = np.isin(found, labels.split)
        below[: middle_row(regions > 0)] = False
        regions[below] = LOWER
    return regions


def middle_row(person: NDArray[np.bool_]) -> int:
    """The row that halves the vertical extent of a mask; the mask's height where it is empty."""
    rows = np.flatnonzero(person.any(axis=1))
    return int(rows[0] + rows[-1] + 1) // 2 if len(rows) else len(person)


def resample_regions(regions: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Average region probabilities over the cells of another grid, K x rows x columns to K x grid."""
    if regions.shape[1:] == grid:
        return regions
    planes = [cv2.resize(plane, (grid[1], grid[0]), interpolation=cv2.INTER_AREA) for plane in regions]
    return np.stack(planes).astype(np.float32)


def label_cells(regions: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the most probable region of each cell of a grid, from K x rows x columns on any grid."""
    labels: NDArray[np.uint8] = resample_regions(regions, grid).argmax(axis=0).astype(np.uint8)
    return labels
