"""From a parser's regions and an identity's clusters to one label map (specification, sections 5.3 and 5.4)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vestigo_models.fls.belongings import EIGHT, Mask, belongings, extent, scaled, supported
from vestigo_models.fls.clustering import Device, Labels, foreground, guarded, parts
from vestigo_models.fls.config import FlsConfig
from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS, LOWER, REGIONS, UPPER

Floats = NDArray[np.float32]


def agreed(network: Floats, parser: Floats) -> Floats:
    """The product of both opinions, normalised (Hinton, "Products of Experts", ICANN 1999).

    Both are ... x 6 region probabilities. Belongings are background to a parser, so that its background speaks for
    both; where one that has a class for bags sees them, that speaks for belongings as well.
    """
    heard = parser.copy()
    heard[..., BELONGINGS] += parser[..., BACKGROUND]
    both = network * heard
    total = both.sum(axis=-1, keepdims=True)
    # Where one rules out all that the other believes in, the network is right about what the parser cannot know.
    together: Floats = np.divide(both, total, out=network.copy(), where=total > 0)
    return together


def cluster_labels(features: NDArray[np.float32], config: FlsConfig, device: Device = "cpu") -> Labels | None:
    """Labels from clustering alone: N x H x W x C to N x H x W of 0..K_c-1, None where too little is foreground.

    k-means runs on `device`.
    """
    return parts(features, foreground(features, sharpen=config.sharpen), config.clusters - 1, config.seed, device)


def fls_labels(
    features: NDArray[np.float32],
    parsed: Labels,
    config: FlsConfig,
    probabilities: NDArray[np.float32] | None = None,
    parser_probabilities: NDArray[np.float32] | None = None,
    device: Device = "cpu",
) -> Labels:
    """Regions of one identity's images: the parser's, and belongings that only the network sees.

    features: N x H x W x C of all images of the identity; parsed: N x H x W, region ids 0..4 of the parser;
    probabilities: N x H x W x K, P of the network's pixel classifier, for the settings that say `classifier`. Without
    one the foreground is told by activations; one that has not learnt belongings finds none;
    parser_probabilities: N x H x W x 6, of which `parsed` are the best: P is then heard together with them;
    device: where k-means runs, for the settings that vote.
    Returns N x H x W uint8, region ids 0..5.
    """
    config = scaled(config, parsed.shape[1:])
    body = parsed > BACKGROUND
    knows = probabilities is not None and probabilities.shape[3] == len(REGIONS)
    if probabilities is not None and parser_probabilities is not None and knows:
        probabilities = agreed(probabilities, parser_probabilities)
    if config.foreground == "classifier" and probabilities is not None:
        seen = probabilities[..., BACKGROUND] < 0.5
    else:
        seen = foreground(features, sharpen=config.sharpen)
    mask, trusted = guarded(seen, body, least_iou=config.guard_iou)
    mask = mask & trusted[:, None, None]
    carried = np.zeros_like(body)
    if config.belongings_mode != "cluster_vote":
        found = np.stack([belongings(seen, person, config) for seen, person in zip(mask, body, strict=True)])
        carried |= supported(found, config.support)
    if config.belongings_mode in ("cluster_vote", "both"):
        clusters = parts(features, mask, config.clusters - 1, config.seed, device)
        if clusters is not None:
            carried |= voted(clusters, mask & ~body, parsed, config)
    if config.belongings_mode == "classifier" and probabilities is not None and knows:
        carried |= supported(told(probabilities[..., BELONGINGS], parsed, config), config.support)
    # What a parser says of a body it is not asked about again: only a vote and a classifier take cells of clothes.
    fused = np.where(carried, np.uint8(BELONGINGS), parsed)
    return np.stack([without_speckle(smoothed(labels), config.speckle) for labels in fused])


def told(likely: NDArray[np.float32], parsed: Labels, config: FlsConfig) -> Mask:
    """Cells that a network calls belongings, N x H x W: outside the parser's body, or on its clothes.

    Components of fewer than `least_cells` cells are left out. A parser takes a backpack for the jacket below it, but
    nothing for a bag that it sees to be a head or a shoe.
    """
    wanted = (likely >= config.sure) & np.isin(parsed, (BACKGROUND, UPPER, LOWER))
    kept = np.zeros_like(wanted)
    for image, cells in enumerate(wanted):
        found, _ = ndimage.label(cells, EIGHT)
        large = np.bincount(found.ravel()) >= config.least_cells
        large[0] = False
        kept[image] = large[found]
    return kept


def voted(clusters: Labels, missed: Mask, parsed: Labels, config: FlsConfig) -> Mask:
    """Cells of clusters that the parser mostly missed, at a height where people carry things.

    clusters, parsed: N x H x W; missed: foreground that the parser left out. Of the upper body of an image a vote takes
    at most `vote_most_of_upper`, and of more the cells nearest to what the parser left out.
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
    taken: Mask = votes & (parsed == BACKGROUND)
    for image, upper in zip(range(len(parsed)), parsed == UPPER, strict=True):
        wanted = votes[image] & upper
        most = int(config.vote_most_of_upper * upper.sum())
        rows, columns = np.nonzero(wanted)
        distance = ndimage.distance_transform_edt(parsed[image] != BACKGROUND)[rows, columns]
        nearest = np.argsort(distance, kind="stable")[:most]
        taken[image, rows[nearest], columns[nearest]] = True
    return taken


def relative_heights(body: Mask) -> NDArray[np.float64]:
    """Where each cell's centre lies between the top (0) and bottom (1) of its image's person; NaN without a person."""
    heights = np.full(body.shape, np.nan)
    centres = np.arange(body.shape[1]) + 0.5
    for image in np.flatnonzero(body.any(axis=(1, 2))):
        top, bottom = extent(body[image])
        heights[image] = ((centres - top) / (bottom - top))[:, None]
    return heights


def smoothed(labels: Labels) -> Labels:
    """3 x 3 majority vote of an H x W label map; where two labels have most votes, the old label stays."""
    votes = np.stack(
        [
            ndimage.convolve((labels == region.id).astype(np.uint8), EIGHT.astype(np.uint8), mode="constant")
            for region in REGIONS.regions
        ]
    )
    most = votes.max(axis=0)
    tied = (votes == most).sum(axis=0) > 1
    return np.where(tied, labels, votes.argmax(axis=0)).astype(np.uint8)


def without_speckle(labels: Labels, least: int) -> Labels:
    """An H x W label map whose 8-connected components of fewer than `least` cells are background."""
    cleaned = labels.copy()
    for region in REGIONS.regions[1:]:
        found, _ = ndimage.label(labels == region.id, EIGHT)
        small = np.bincount(found.ravel()) < least
        small[0] = False
        cleaned[small[found]] = BACKGROUND
    return cleaned


def enlarged(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float32]:
    """Share of each pixel (h x w) that a mask of cells has, by linear interpolation between their centres."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR))


def with_belongings(body: Labels, fused: Labels, config: FlsConfig) -> Labels:
    """The parser's regions of all pixels, and the belongings of the fused map where it does not contradict.

    body: h x w, region ids of the parser; fused: rows x columns, region ids of `fls_labels`. A pixel that the parser
    leaves to the background is belongings where these weigh more than the background around it. Where clusters vote,
    belongings may also take the upper body, as on the grid.
    """
    carried = fused == BELONGINGS
    if not carried.any():
        return body.copy()
    weight = enlarged(carried, (body.shape[0], body.shape[1]))
    labels = body.copy()
    taken = (BACKGROUND,) if config.belongings_mode == "complement" else (BACKGROUND, UPPER)
    for region in taken:
        labels[(body == region) & (weight > enlarged(fused == region, (body.shape[0], body.shape[1])))] = BELONGINGS
    return labels
