"""Label maps of the training images, made anew from the network's own features (specification, section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vestigo_models.batches import ImageReader, TrainingSet
from vestigo_models.config import TrainConfig
from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.fls import FlsConfig, cluster_labels, fls_labels
from vestigo_models.fls.belongings import dilated, extent, scaled
from vestigo_models.images import read_image
from vestigo_models.networks import SemanticNetwork
from vestigo_models.objective import UNLABELLED
from vestigo_models.parsing import Parser
from vestigo_models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from vestigo_models.ranks import Ranks
from vestigo_models.schemas import REGIONS

Labels = NDArray[np.uint8]
FORWARD_AT_ONCE = 32
CARRYING = ("backpack", "bag", "handbag")
"""Attributes that say that somebody carries something."""


def parsed_labels(
    paths: Sequence[Path], parser: Parser, grid: tuple[int, int], advance: Callable[[int], None] = lambda done: None
) -> Labels:
    """What a parser says of training images: N x rows x columns uint8 region ids on the network's grid.

    Raises:
        DatasetError: an image cannot be read or parsed.
    """
    labels = np.empty((len(paths), *grid), dtype=np.uint8)
    for index, path in enumerate(paths):
        try:
            labels[index] = on_grid(parser.parse(read_image(path), path.name).regions, grid)
        except BadInput as error:
            raise DatasetError(f"training image {path}: {error.detail}; remove the file or restore it") from None
        advance(index + 1)
    return labels


def on_grid(regions: NDArray[np.float32], grid: tuple[int, int]) -> Labels:
    """The most probable region of each cell, K x rows x columns on any grid to grid uint8."""
    if regions.shape[1:] != grid:
        planes = [cv2.resize(plane, (grid[1], grid[0]), interpolation=cv2.INTER_AREA) for plane in regions]
        regions = np.stack(planes).astype(np.float32)
    labels: Labels = regions.argmax(axis=0).astype(np.uint8)
    return labels


def first_labels(data: TrainingSet, config: TrainConfig, grid: tuple[int, int]) -> Labels:
    """The label maps before any clustering: the parser's, or `UNLABELLED` without one."""
    if data.parsed is None:
        return np.full((len(data.paths), *grid), UNLABELLED, dtype=np.uint8)
    return doubted(data.parsed, data.parsed, carriers(data, config), config.fls)


def carriers(data: TrainingSet, config: TrainConfig) -> NDArray[np.bool_]:
    """(N,) bool: images of people who are labelled as carrying something; none where that is not to be used."""
    found = np.zeros(len(data.paths), dtype=bool)
    if (
        config.carrying_weight
        and config.network.regions == len(REGIONS)
        and data.schema
        and data.attributes is not None
    ):
        for name in CARRYING:
            if name in data.schema.names:
                yes = data.schema[name].values.index("yes")
                found |= data.attributes[:, data.schema.index(name)] == yes
    return found


def doubted(labels: Labels, parsed: Labels, carrying: NDArray[np.bool_], config: FlsConfig) -> Labels:
    """`labels` of people who carry something, without an answer where they may carry it (N x h x w, N flags).

    That is background near the parser's body: the parser knows no belongings, so it cannot say that there are none.
    """
    result = labels.copy()
    config = scaled(config, labels.shape[1:])
    for index in np.flatnonzero(carrying):
        body = parsed[index] > 0
        if body.any():
            top, bottom = extent(body)
            heights = (np.arange(len(body)) + 0.5 - top) / (bottom - top)
            level = (heights >= config.heights[0]) & (heights <= config.heights[1])
            near = dilated(body, config.doubt) & level[:, None]
            result[index][near & (labels[index] == 0)] = UNLABELLED
    return result


def due(epoch: int, config: TrainConfig) -> bool:
    """Whether the 1-based `epoch` begins with a refresh: with clusters from the first on, else once FLS starts."""
    if not config.network.regions or config.fls.labels == "parser":
        return False
    start = 1 if config.fls.labels == "cluster" else config.fls_start_epoch
    return start <= epoch <= config.relabel_until and (epoch - start) % config.relabel_every == 0


def relabel(
    network: SemanticNetwork,
    reader: ImageReader,
    data: TrainingSet,
    previous: Labels,
    config: TrainConfig,
    ranks: Ranks,
    device: torch.device,
) -> Labels:
    """Cluster the features of every identity and return the label maps of all images, N x h x w uint8.

    With several workers each takes its share of the identities, on the network of the first one; the result is the
    same. The network is left in evaluation mode. Memory is the features of one identity.
    """
    ranks.agree(network)
    network.eval()
    labels = np.zeros_like(previous)
    carrying = carriers(data, config)
    for pid in range(ranks.rank, data.identities, ranks.size):
        members = np.flatnonzero(data.pids == pid)
        found = identity_maps(network, [reader.read(index) for index in members], device)
        parsed = None if data.parsed is None else data.parsed[members]
        labels[members] = identity_labels(found, parsed, carrying[members], previous[members], config)
    return ranks.total(torch.from_numpy(labels).to(device)).cpu().numpy()


class IdentityMaps(NamedTuple):
    """What the network sees in the N images of one identity: F, N x h x w x C, and P_0, N x h x w, both float32."""

    features: NDArray[np.float32]
    background: NDArray[np.float32]


@torch.inference_mode()
def identity_maps(network: SemanticNetwork, images: Sequence[NDArray[np.uint8]], device: torch.device) -> IdentityMaps:
    """F and P_0 of the images of one identity, always computed in batches of one size."""
    features, background = [], []
    for start in range(0, len(images), FORWARD_AT_ONCE):
        some = images[start : start + FORWARD_AT_ONCE]
        pixels = np.zeros((FORWARD_AT_ONCE, *images[0].shape), dtype=np.uint8)
        pixels[: len(some)] = some
        found, logits = network.maps(normalise(pixels, IMAGENET_MEAN, IMAGENET_STD, device))
        features.append(found.full()[: len(some)].float().permute(0, 2, 3, 1).cpu().numpy())
        background.append(logits[: len(some)].float().softmax(dim=1)[:, 0].cpu().numpy())
    return IdentityMaps(np.concatenate(features), np.concatenate(background))


def identity_labels(
    found: IdentityMaps,
    parsed: Labels | None,
    carrying: NDArray[np.bool_],
    previous: Labels,
    config: TrainConfig,
) -> Labels:
    """New label maps of one identity; those it had where too little of it is foreground."""
    if parsed is not None:
        seen = found.background if config.fls.foreground == "classifier" else None
        return doubted(fls_labels(found.features, parsed, config.fls, seen), parsed, carrying, config.fls)
    clusters = cluster_labels(found.features, config.fls)
    return previous if clusters is None else clusters
