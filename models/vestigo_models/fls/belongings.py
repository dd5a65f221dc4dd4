"""Belongings that the parser does not know: foreground of the network outside the parser's body.

Level 1 also contains a halo around the body. A component must therefore start outside the halo, and may then grow back
to the body (docs/method.md, section "Belongings").
"""

import math

import numpy as np
from scipy import ndimage

from vestigo_models.arrays import BoolArray
from vestigo_models.fls.config import FlsConfig

EIGHT = np.ones((3, 3), dtype=bool)
"""Structuring element of 8-connected components."""
REFERENCE_CELLS = 64 * 32


def scale_config(config: FlsConfig, shape: tuple[int, ...]) -> FlsConfig:
    """Return the configuration for a grid of another size: areas scale with its cells, lengths with their root."""
    share = shape[0] * shape[1] / REFERENCE_CELLS
    if share == 1:
        return config

    def area(cells: int) -> int:
        return max(1, round(cells * share))

    def length(cells: int) -> int:
        return round(cells * math.sqrt(share))

    return config.model_copy(
        update={
            "halo": length(config.halo),
            "growth": length(config.growth),
            "reach": length(config.reach),
            "seed_cells": area(config.seed_cells),
            "least_cells": area(config.least_cells),
            "speckle": area(config.speckle) if config.speckle else 0,
        }
    )


def find_belongings(foreground: BoolArray, body: BoolArray, config: FlsConfig) -> BoolArray:
    """Find the cells of belongings in one image: level 1 and the parser's body to belongings, all H x W.

    The configuration must be scaled to H x W.
    """
    missed = foreground & ~body
    nothing = np.zeros_like(body)
    if not missed.any() or not body.any():
        return nothing
    seeds = ndimage.binary_opening(missed & ~dilate(body, config.halo), EIGHT)
    components, count = ndimage.label(seeds, EIGHT)
    near = dilate(body, config.reach)
    top, bottom = row_extent(body)
    kept = nothing
    for index in range(1, count + 1):
        seed = components == index
        if seed.sum() < config.seed_cells:
            continue
        grown = dilate(seed, config.growth, within=missed)
        height = (np.nonzero(grown)[0].mean() + 0.5 - top) / (bottom - top)
        if (
            grown.sum() >= config.least_cells
            and (grown & near).any()
            and config.heights[0] <= height <= config.heights[1]
        ):
            kept = kept | grown
    return nothing if kept.sum() > config.most_of_body * body.sum() else kept


def require_support(kept: BoolArray, support: int) -> BoolArray:
    """Return the belongings of an identity, N x H x W, if `support` of its images (or all) show some, else none.

    Belongings in a single image of several are more often errors.
    """
    showing = int(kept.any(axis=(1, 2)).sum())
    return kept if showing >= min(support, len(kept)) else np.zeros_like(kept)


def dilate(mask: BoolArray, steps: int, within: BoolArray | None = None) -> BoolArray:
    """Grow a mask by `steps` cells in eight directions, inside `within` if it is given."""
    if not steps:
        return mask
    grown: BoolArray = ndimage.binary_dilation(mask, EIGHT, iterations=steps, mask=within)
    return grown


def row_extent(mask: BoolArray) -> tuple[int, int]:
    """Return the first row of an H x W mask that has a cell, and the row after the last one.

    Raises:
        ValueError: If the mask is empty.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        raise ValueError("an empty mask has no extent")
    return int(rows[0]), int(rows[-1]) + 1
