"""Fusion of a parser's regions, an identity's clusters and a network's regions to label maps.

See docs/method.md, section "Fusion". Symbols: N images of one identity, on a grid of H x W cells.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage

from vestigo_models.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from vestigo_models.fls.clustering import Device, cluster_parts, find_foreground, guard_foreground
from vestigo_models.fls.config import FlsConfig
from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS, LOWER, REGIONS, UPPER

EIGHT = np.ones((3, 3), dtype=bool)
"""Structuring element of 8-connected components."""
REFERENCE_CELLS = 64 * 32


def scale_config(config: FlsConfig, shape: tuple[int, ...]) -> FlsConfig:
    """Return the configuration for a grid of another size: areas scale with its cells, lengths with their root."""
    share = shape[0] * shape[1] / REFERENCE_CELLS
    lengths = {key: round(getattr(config, key) * math.sqrt(share)) for key in ("halo", "growth", "reach")}
    areas = {key: max(1, round(getattr(config, key) * share)) for key in ("seed_cells", "least_cells", "speckle")}
    if not config.speckle:
        areas["speckle"] = 0
    return config.model_copy(update=lengths | areas)


def find_belongings(foreground: BoolArray, body: BoolArray, config: FlsConfig) -> BoolArray:
    """Find belongings that the parser does not know, in one image: level 1 outside the parser's body, all H x W.

    Level 1 also contains a halo around the body. A component must therefore start outside the halo, and may then grow
    back to the body (docs/method.md, section "Belongings"). The configuration must be scaled to H x W.
    """
    missed = foreground & ~body
    kept = np.zeros_like(body)
    if not missed.any() or not body.any():
        return kept
    seeds = ndimage.binary_opening(missed & ~dilate(body, config.halo), EIGHT)
    near = dilate(body, config.reach)
    top, bottom = row_extent(body)
    lowest, highest = config.heights
    for seed in large_components(seeds, config.seed_cells):
        grown = dilate(seed, config.growth, within=missed)
        height = (np.nonzero(grown)[0].mean() + 0.5 - top) / (bottom - top)
        if grown.sum() >= config.least_cells and (grown & near).any() and lowest <= height <= highest:
            kept |= grown
    return np.zeros_like(body) if kept.sum() > config.most_of_body * body.sum() else kept


def large_components(mask: BoolArray, least: int) -> Iterator[BoolArray]:
    """Yield the 8-connected components of an H x W mask that have at least `least` cells."""
    components, _ = ndimage.label(mask, EIGHT)
    sizes = np.bincount(components.ravel())
    for index in np.flatnonzero(sizes[1:] >= least) + 1:
        yield components == index


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
    return np.asarray(ndimage.binary_dilation(mask, EIGHT, iterations=steps, mask=within))


def row_extent(mask: BoolArray) -> tuple[int, int]:
    """Return the first row of an H x W mask that has a cell, of which there must be one, and the row after the last."""
    rows = np.flatnonzero(mask.any(axis=1))
    return int(rows[0]), int(rows[-1]) + 1


def combine_probabilities(network: Float32Array, parser: Float32Array) -> Float32Array:
    """Multiply and normalise region probabilities of network and parser (Hinton, "Products of Experts", ICANN 1999).

    All are ... x 6; where the products are all zero, the network's are returned. The parser's background counts for
    belongings too, because parsers do not know them; the probability of a class for bags is added.
    """
    evidence = parser.copy()
    evidence[..., BELONGINGS] += parser[..., BACKGROUND]
    product = network * evidence
    total = product.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(product, total, out=network.copy(), where=total > 0))


def cluster_labels(features: Float32Array, config: FlsConfig, device: Device = "cpu") -> UInt8Array | None:
    """Compute label maps 0..K_c-1, N x H x W, from clustering of F; None if there is too little foreground."""
    mask = find_foreground(features, sharpen=config.sharpen)
    return cluster_parts(features, mask, config.clusters - 1, config.seed, device)


def fls_labels(
    features: Float32Array,
    parsed: UInt8Array,
    config: FlsConfig,
    probabilities: Float32Array | None = None,
    parser_probabilities: Float32Array | None = None,
    device: Device = "cpu",
) -> UInt8Array:
    """Compute the region ids of one identity, N x H x W: the parser's, and belongings that the network adds.

    `features` are F, N x H x W x C, and `parsed` the parser's region ids. P of the network, N x H x W x K, is for the
    settings `classifier`: without it the foreground comes from activations, and without belongings in it (K < 6) no
    cells are classified as belongings. It is combined with region probabilities of the parser, N x H x W x 6, if they
    are given. `config` is stated for 64 x 32 cells, and `device` is that of k-means, for the settings that vote.
    """
    config = scale_config(config, parsed.shape[1:])
    body = parsed > BACKGROUND
    has_belongings = probabilities is not None and probabilities.shape[3] == len(REGIONS)
    if probabilities is not None and parser_probabilities is not None and has_belongings:
        probabilities = combine_probabilities(probabilities, parser_probabilities)
    if config.foreground == "classifier" and probabilities is not None:
        foreground = probabilities[..., BACKGROUND] < 0.5
    else:
        foreground = find_foreground(features, sharpen=config.sharpen)
    mask, trusted = guard_foreground(foreground, body, least_iou=config.guard_iou)
    mask = mask & trusted[:, None, None]
    carried = np.zeros_like(body)
    if config.belongings_mode != "cluster_vote":
        components = [find_belongings(*masks, config) for masks in zip(mask, body, strict=True)]
        carried |= require_support(np.stack(components), config.support)
    if config.belongings_mode in ("cluster_vote", "both"):
        clusters = cluster_parts(features, mask, config.clusters - 1, config.seed, device)
        if clusters is not None:
            carried |= vote_belongings(clusters, mask & ~body, parsed, config)
    if config.belongings_mode == "classifier" and probabilities is not None and has_belongings:
        classified = belongings_mask(probabilities[..., BELONGINGS], parsed, config)
        carried |= require_support(classified, config.support)
    # Only votes and the classifier take cells of the parser's body, and those of clothes alone.
    fused = np.where(carried, np.uint8(BELONGINGS), parsed)
    return np.stack([remove_speckle(smooth(labels), config.speckle) for labels in fused])


def belongings_mask(probabilities: Float32Array, parsed: UInt8Array, config: FlsConfig) -> BoolArray:
    """Find components that the network classifies as belongings, outside the parser's body or on its clothes.

    Parsers take a backpack for the jacket below it, but never a bag for a head or a shoe. All arrays are N x H x W: the
    probability of belongings, the parser's region ids, and the result. The configuration must be scaled to H x W.
    """
    candidates = (probabilities >= config.sure) & np.isin(parsed, (BACKGROUND, UPPER, LOWER))
    kept = np.zeros_like(candidates)
    for image, cells in enumerate(candidates):
        for component in large_components(cells, config.least_cells):
            kept[image] |= component
    return kept


def vote_belongings(clusters: UInt8Array, missed: BoolArray, parsed: UInt8Array, config: FlsConfig) -> BoolArray:
    """Find cells of clusters that the parser mostly missed, at a height where people carry things.

    Of an image's upper body at most `vote_most_of_upper` is taken: the cells nearest to the parser's background. All
    arrays are N x H x W: part clusters, foreground outside the parser's body, the parser's region ids, and the result.
    """
    heights = relative_heights(parsed > BACKGROUND)
    chosen = [
        index
        for index in range(1, config.clusters)
        if (cells := clusters == index).any()
        and missed[cells].mean() >= config.vote_share
        and config.vote_heights[0] <= np.nanmean(heights[cells]) <= config.vote_heights[1]
    ]
    votes = np.isin(clusters, chosen)
    taken: BoolArray = votes & (parsed == BACKGROUND)
    for image, upper in enumerate(parsed == UPPER):
        most = int(config.vote_most_of_upper * upper.sum())
        rows, columns = np.nonzero(votes[image] & upper)
        distance = ndimage.distance_transform_edt(parsed[image] != BACKGROUND)[rows, columns]
        nearest = np.argsort(distance, kind="stable")[:most]
        taken[image, rows[nearest], columns[nearest]] = True
    return taken


def relative_heights(body: BoolArray) -> Float64Array:
    """Return the height of each cell between top (0) and bottom (1) of its image's person; NaN without a person."""
    heights = np.full(body.shape, np.nan)
    centres = np.arange(body.shape[1]) + 0.5
    for image in np.flatnonzero(body.any(axis=(1, 2))):
        top, bottom = row_extent(body[image])
        heights[image] = ((centres - top) / (bottom - top))[:, None]
    return heights


def smooth(labels: UInt8Array) -> UInt8Array:
    """Apply a 3 x 3 majority filter to an H x W label map; a tie keeps the label."""
    cells = [(labels == region.id).astype(np.uint8) for region in REGIONS.regions]
    votes = np.stack([ndimage.convolve(each, EIGHT.astype(np.uint8), mode="constant") for each in cells])
    most = votes.max(axis=0)
    tied = (votes == most).sum(axis=0) > 1
    return np.where(tied, labels, votes.argmax(axis=0)).astype(np.uint8)


def remove_speckle(labels: UInt8Array, least: int) -> UInt8Array:
    """Return an H x W label map whose 8-connected components of fewer than `least` cells are background."""
    cleaned = np.zeros_like(labels)
    for region in REGIONS.regions[1:]:
        for component in large_components(labels == region.id, least):
            cleaned[component] = region.id
    return cleaned


def add_belongings(body: UInt8Array, fused: UInt8Array, config: FlsConfig) -> UInt8Array:
    """Add the belongings of `fls_labels`, H x W cells, to the parser's region ids of h x w pixels.

    A pixel of the parser's background becomes belongings where they outweigh the background of the fused map. Modes
    other than `complement` may take pixels of the upper body too, as on the grid.
    """
    carried = fused == BELONGINGS
    if not carried.any():
        return body.copy()
    weight = _enlarge(carried, body.shape)
    labels = body.copy()
    for region in (BACKGROUND,) if config.belongings_mode == "complement" else (BACKGROUND, UPPER):
        labels[(body == region) & (weight > _enlarge(fused == region, body.shape))] = BELONGINGS
    return labels


def _enlarge(mask: BoolArray, size: tuple[int, ...]) -> Float32Array:
    """Interpolate a mask of cells linearly between their centres, at h x w pixels."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR))


def oracle_labels(truth: UInt8Array, config: FlsConfig) -> UInt8Array:
    """Fuse the true silhouette, as level 1, and the true body, as the parser's map: N x H x W to N x H x W.

    `foreground` and `belongings_mode` of the configuration are replaced.
    """
    silhouette = np.stack([truth == BACKGROUND, truth != BACKGROUND], axis=3).astype(np.float32)
    body = np.where(truth == BELONGINGS, np.uint8(BACKGROUND), truth).astype(np.uint8)
    rules = config.model_copy(update={"foreground": "classifier", "belongings_mode": "complement"})
    return fls_labels(silhouette, body, rules, silhouette)
