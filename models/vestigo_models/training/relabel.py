"""Label maps of the training images, made anew from the network's own features (specification, section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.fls.fusion import cluster_labels, fls_labels
from vestigo_models.inference.images import read_image
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.region_merge import label_cells
from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import ImageReader, TrainingSet
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.objective import UNLABELLED

Labels = NDArray[np.uint8]
FORWARD_AT_ONCE = 32


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
            labels[index] = label_cells(parser.parse(read_image(path), path.name).regions, grid)
        except BadInput as error:
            raise DatasetError(f"training image {path}: {error.detail}; remove the file or restore it") from None
        advance(index + 1)
    return labels


def first_labels(data: TrainingSet, grid: tuple[int, int], regions: int) -> Labels:
    """Return the label maps before any clustering: the parser's, or `UNLABELLED` without a parser.

    A network of 5 regions has no belongings: cells that a parser with a class for bags calls belongings are background.

    Args:
        data: The N training images.
        grid: Rows and columns of the maps.
        regions: K, regions of the network including the background.

    Returns:
        Region ids, N x rows x columns.
    """
    if data.parsed is None:
        return np.full((len(data.paths), *grid), UNLABELLED, dtype=np.uint8)
    labels = data.parsed.copy()
    if regions <= BELONGINGS:
        labels[labels == BELONGINGS] = BACKGROUND
    return labels


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
    for pid in range(ranks.rank, data.identities, ranks.size):
        members = np.flatnonzero(data.pids == pid)
        found = identity_maps(network, [reader.read(index) for index in members], device)
        parsed = None if data.parsed is None else data.parsed[members]
        labels[members] = identity_labels(found, parsed, previous[members], config, device)
    return ranks.total(torch.from_numpy(labels).to(device)).cpu().numpy()


class IdentityMaps(NamedTuple):
    """What the network sees in the N images of one identity: F, N x h x w x C, and P, N x h x w x K, both float32."""

    features: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@torch.inference_mode()
def identity_maps(network: SemanticNetwork, images: Sequence[NDArray[np.uint8]], device: torch.device) -> IdentityMaps:
    """F and P of the images of one identity, always computed in batches of one size."""
    features, probabilities = [], []
    for start in range(0, len(images), FORWARD_AT_ONCE):
        some = images[start : start + FORWARD_AT_ONCE]
        pixels = np.zeros((FORWARD_AT_ONCE, *images[0].shape), dtype=np.uint8)
        pixels[: len(some)] = some
        found, logits = network.segment(normalise(pixels, IMAGENET_MEAN, IMAGENET_STD, device))
        features.append(found.to_tensor()[: len(some)].float().permute(0, 2, 3, 1).cpu().numpy())
        probabilities.append(logits[: len(some)].float().softmax(dim=1).permute(0, 2, 3, 1).cpu().numpy())
    return IdentityMaps(np.concatenate(features), np.concatenate(probabilities))


def identity_labels(
    found: IdentityMaps, parsed: Labels | None, previous: Labels, config: TrainConfig, device: torch.device
) -> Labels:
    """New label maps of one identity; those it had where too little of it is foreground."""
    if parsed is not None:
        return fls_labels(found.features, parsed, config.fls, found.probabilities, device=device)
    clusters = cluster_labels(found.features, config.fls, device)
    return previous if clusters is None else clusters
