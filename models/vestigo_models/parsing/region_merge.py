"""Merge of a parser's classes into regions on a coarse grid (docs/method.md, "Parsing and region merge")."""

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, UInt8Array
from vestigo_models.parsing.label_maps import ParserLabels
from vestigo_models.schemas.regions import LOWER, REGIONS, UPPER

GRID = (64, 32)
"""Rows and columns of the feature map for an input of 256 x 128."""


def merge(classes: Float32Array, label_set: ParserLabels, grid: tuple[int, int] = GRID) -> Float32Array:
    """Sum class probabilities per region and average them over cells.

    A class for the whole body, such as a dress, is upper body above the middle of the person and lower body below it.

    Args:
        classes: Class probabilities, (h, w, classes).
        label_set: The parser's classes.
        grid: Rows and columns of the result.

    Returns:
        Region probabilities, (K, rows, columns).
    """
    height, width = classes.shape[:2]
    regions = np.zeros((height, width, len(REGIONS)), dtype=np.float32)
    for index, region in enumerate(label_set.regions):
        regions[..., region] += classes[..., index]
    if label_set.split:
        below = classes[..., label_set.split].sum(axis=-1)
        below[: middle_row(np.array(label_set.regions)[classes.argmax(axis=-1)] > 0)] = 0
        regions[..., UPPER] -= below
        regions[..., LOWER] += below
    # INTER_AREA averages, of at most four channels at a time.
    cells = [cv2.resize(regions[..., k], (grid[1], grid[0]), interpolation=cv2.INTER_AREA) for k in range(len(REGIONS))]
    return np.stack(cells).astype(np.float32)


def merge_hard(labels: UInt8Array, label_set: ParserLabels, grid: tuple[int, int] = GRID) -> Float32Array:
    """Merge a label map of class ids (h, w) like `merge`, with probability 1 at every pixel."""
    return merge(np.eye(len(label_set), dtype=np.float32)[labels], label_set, grid)


def merge_labels(labels: UInt8Array, label_set: ParserLabels) -> UInt8Array:
    """Return the region ids of a label map of class ids (h, w); a dress is divided as in `merge`."""
    regions = np.array(label_set.regions, dtype=np.uint8)[labels]
    if label_set.split:
        below = np.isin(labels, label_set.split)
        below[: middle_row(regions > 0)] = False
        regions[below] = LOWER
    return regions


def middle_row(person: BoolArray) -> int:
    """Return the middle row of the vertical extent of a mask; the mask's height if it is empty."""
    rows = np.flatnonzero(person.any(axis=1))
    return int(rows[0] + rows[-1] + 1) // 2 if len(rows) else len(person)


def resample_regions(regions: Float32Array, grid: tuple[int, int]) -> Float32Array:
    """Average region probabilities over the cells of another grid, K x rows x columns to K x grid."""
    if regions.shape[1:] == grid:
        return regions
    planes = [cv2.resize(plane, (grid[1], grid[0]), interpolation=cv2.INTER_AREA) for plane in regions]
    return np.stack(planes).astype(np.float32)


def label_cells(regions: Float32Array, grid: tuple[int, int]) -> UInt8Array:
    """Return the most probable region of each cell of a grid, from K x rows x columns on any grid."""
    labels: UInt8Array = resample_regions(regions, grid).argmax(axis=0).astype(np.uint8)
    return labels
