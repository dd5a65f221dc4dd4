"""What somebody carries, as far as the parser missed it (specification, section 5.3).

Belongings are where the network sees foreground and the parser sees background. Level 1 is blobby, so that this always
holds a halo around the body as well: a belonging must begin outside the halo, and may then grow back to the body.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vestigo_models.fls.config import FlsConfig

Mask = NDArray[np.bool_]

EIGHT = np.ones((3, 3), dtype=bool)
REFERENCE_CELLS = 64 * 32


def scaled(config: FlsConfig, shape: tuple[int, ...]) -> FlsConfig:
    """The same configuration for a map of another size: areas scale with its cells, lengths with their root."""
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


def belongings(foreground: Mask, body: Mask, config: FlsConfig) -> Mask:
    """The cells of one image that belong to something carried; both masks are H x W, `config` is scaled to them."""
    missed = foreground & ~body
    nothing = np.zeros_like(body)
    if not missed.any() or not body.any():
        return nothing
    seeds = ndimage.binary_opening(missed & ~dilated(body, config.halo), EIGHT)
    found, count = ndimage.label(seeds, EIGHT)
    near = dilated(body, config.reach)
    top, bottom = extent(body)
    kept = nothing
    for index in range(1, count + 1):
        seed = found == index
        if seed.sum() < config.seed_cells:
            continue
        grown = dilated(seed, config.growth, within=missed)
        height = (np.nonzero(grown)[0].mean() + 0.5 - top) / (bottom - top)
        if (
            grown.sum() >= config.least_cells
            and (grown & near).any()
            and config.heights[0] <= height <= config.heights[1]
        ):
            kept = kept | grown
    return nothing if kept.sum() > config.most_of_body * body.sum() else kept


def supported(kept: Mask, support: int) -> Mask:
    """Belongings of an identity (N x H x W), or none where fewer than `support` of its images (all, if it has fewer)
    show one: what only one view shows is more often a mistake than a bag.
    """
    showing = int(kept.any(axis=(1, 2)).sum())
    return kept if showing >= min(support, len(kept)) else np.zeros_like(kept)


def dilated(mask: Mask, steps: int, within: Mask | None = None) -> Mask:
    """`mask` grown by `steps` cells in all eight directions, inside `within` where it is given."""
    if not steps:
        return mask
    grown: Mask = ndimage.binary_dilation(mask, EIGHT, iterations=steps, mask=within)
    return grown


def extent(mask: Mask) -> tuple[int, int]:
    """First row of an H x W mask with a cell, and the row after the last one. Raises ValueError for an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        raise ValueError("an empty mask has no extent")
    return int(rows[0]), int(rows[-1]) + 1
