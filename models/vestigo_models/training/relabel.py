"""Label maps of training images and their refresh (docs/method.md, "Refresh schedule")."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vestigo_models.arrays import Float32Array, UInt8Array
from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.fls.config import LabelSource
from vestigo_models.fls.fusion import cluster_labels, fls_labels
from vestigo_models.inference.images import read_image
from vestigo_models.inference.preprocessing import padded_input
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.parsing.base import Parser
from vestigo_models.parsing.label_maps import confusion, iou, label_cells
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS, REGIONS, RegionSchema
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import ImageReader, TrainingSet
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.losses import UNLABELLED

BATCH_SIZE = 32


def parse_labels(
    paths: Sequence[Path],
    parser: Parser,
    grid: tuple[int, int],
    progress: ProgressCallback = ignore_progress,
    *,
    atr_bag_seed: bool = False,
) -> UInt8Array:
    """Return the label maps of training images by a parser, region ids (N, rows, columns) on the network's grid.

    Without `atr_bag_seed` the class `bag` of the label set ATR is background. A class that a label map calls belongings
    stays belongings.

    Raises:
        DatasetError: If an image cannot be read or parsed.
    """
    labels = np.empty((len(paths), *grid), dtype=np.uint8)
    for index, path in enumerate(paths):
        try:
            regions = parser.parse(read_image(path), path.name).regions
            if not atr_bag_seed and regions[BELONGINGS].any() and parser.label_set.has_unreliable_bags:
                regions[BACKGROUND] += regions[BELONGINGS]
                regions[BELONGINGS] = 0
            labels[index] = label_cells(regions, grid)
        except BadInput as error:
            raise DatasetError(f"training image {path}: {error.detail}; remove the file or restore it") from None
        progress(index + 1, len(paths))
    return labels


def initial_labels(
    data: TrainingSet, grid: tuple[int, int], regions: int, labels_from: LabelSource = "fls"
) -> UInt8Array:
    """Return the label maps before any clustering, N x `grid`: the parser's, or `UNLABELLED` without a parser.

    A network of K = 5 `regions`, background included, has no belongings: cells that a parser with a class for bags
    calls belongings are background. With `labels_from` "cluster" the parser's maps are not used.
    """
    if data.parsed is None or labels_from == "cluster":
        return np.full((len(data.paths), *grid), UNLABELLED, dtype=np.uint8)
    labels = data.parsed.copy()
    if regions <= BELONGINGS:
        labels[labels == BELONGINGS] = BACKGROUND
    return labels


def first_refresh(config: TrainConfig) -> int | None:
    """Return the 1-based epoch that may begin with the first refresh of the label maps; None if they are fixed."""
    if not config.network.regions or config.fls.labels == "parser":
        return None
    return 1 if config.fls.labels == "cluster" else config.fls_start_epoch


def is_refresh_due(epoch: int, config: TrainConfig) -> bool:
    """Return whether the 1-based `epoch` begins with a refresh of the label maps."""
    first = first_refresh(config)
    return first is not None and first <= epoch <= config.relabel_until and (epoch - first) % config.relabel_every == 0


def refresh_labels(
    network: SemanticNetwork,
    reader: ImageReader,
    data: TrainingSet,
    previous: UInt8Array,
    config: TrainConfig,
    ranks: Ranks,
    device: torch.device,
) -> UInt8Array:
    """Compute the label maps of all images, (N, h, w), from the features of each identity, one identity at a time.

    The network is set to evaluation mode. Several workers share the identities, all with the buffers of worker 0.
    """
    ranks.broadcast_buffers(network)
    network.eval()
    labels = np.zeros_like(previous)
    for pid in range(ranks.rank, data.identities, ranks.size):
        members = np.flatnonzero(data.pids == pid)
        features, probabilities = _compute_maps(network, [reader.read(index) for index in members], device)
        if config.fls.labels != "cluster":
            assert data.parsed is not None
            labels[members] = fls_labels(features, data.parsed[members], config.fls, probabilities, device=device)
        else:
            clusters = cluster_labels(features, config.fls, device)
            # An identity with too little foreground keeps its labels.
            labels[members] = previous[members] if clusters is None else clusters
    return ranks.sum(torch.from_numpy(labels).to(device)).cpu().numpy()


def compare_maps(previous: UInt8Array, labels: UInt8Array, regions: RegionSchema) -> dict[str, float | None]:
    """Compare refreshed label maps, (N, h, w), with those before.

    `iou`, the mean IoU of the regions, and `foreground_iou` are over cells that had a label; None without any.
    `belongings_images` and `belongings_cells` are the shares that show belongings; None for clusters.
    """
    known = previous != UNLABELLED
    before, after = previous[known], labels[known]
    shares = iou(confusion(before, after, len(regions)))
    foreground = iou(confusion((before > 0).astype(np.uint8), (after > 0).astype(np.uint8), 2))[1]
    belongings = labels == BELONGINGS if REGIONS.names[BELONGINGS] in regions.names else None
    return {
        "iou": float(np.nanmean(shares)) if known.any() else None,
        "foreground_iou": None if np.isnan(foreground) else float(foreground),
        "belongings_images": None if belongings is None else float(belongings.any(axis=(1, 2)).mean()),
        "belongings_cells": None if belongings is None else float(belongings.mean()),
    }


@torch.inference_mode()
def _compute_maps(
    network: SemanticNetwork, images: Sequence[UInt8Array], device: torch.device
) -> tuple[Float32Array, Float32Array]:
    """Return F, (N, h, w, C), and P, (N, h, w, K), of N images, computed in padded batches of one size."""
    features, probabilities = [], []
    height, width = images[0].shape[:2]
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        feature_map, logits = network.segment(padded_input(batch, (height, width), BATCH_SIZE, device=device))
        features.append(feature_map.to_tensor()[: len(batch)].float().permute(0, 2, 3, 1).cpu().numpy())
        probabilities.append(logits[: len(batch)].float().softmax(dim=1).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(features), np.concatenate(probabilities)
