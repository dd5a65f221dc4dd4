"""Cascaded clustering of one identity's features: where a person is, and in which parts (specification, section 5.2).

The clustering is ISP's (Zhu et al., ECCV 2020): activations tell foreground from background, then the foreground cells
of all images of an identity are clustered together, which makes the parts consistent across its images.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vestigo_models.fls.clustering__kmeans import kmeans

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]
Device = torch.device | str


def activation(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of each cell's feature over the largest of its image: N x H x W x C to N x H x W in 0..1."""
    lengths = np.linalg.norm(features, axis=-1)
    largest = lengths.max(axis=(1, 2), keepdims=True)
    return np.asarray(lengths / np.where(largest > 0, largest, 1), dtype=np.float32)


def foreground(features: NDArray[np.float32], *, sharpen: bool = True) -> Mask:
    """Level 1: the more active of two clusters of all cells of an identity, N x H x W x C to N x H x W.

    `sharpen` puts activations through sigmoid(10a - 2) first (ISP's "enhanced" setting, off for occluded people).
    """
    active = activation(features)
    values = 1 / (1 + np.exp(2 - 10 * active)) if sharpen else active
    mask: Mask = (values > two_means(values.ravel())) & (active > 0)
    return mask


def two_means(values: NDArray[np.floating]) -> float:
    """The threshold of the best 2-means clustering of N numbers: the larger cluster is what lies above it.

    In one dimension clusters are intervals, so the best of the N - 1 cuts is found without iterating. Equal numbers
    are never parted; without two different ones the threshold is the largest number and nothing lies above.
    """
    ordered = np.sort(values).astype(np.float64)
    count = np.arange(1, len(ordered))
    head = np.cumsum(ordered)[:-1]
    tail = ordered.sum() - head
    # Within-cluster scatter is least where the between-cluster scatter is largest.
    between = head**2 / count + tail**2 / (len(ordered) - count)
    between[ordered[:-1] == ordered[1:]] = -np.inf
    if not np.isfinite(between).any():
        return float(ordered[-1])
    return float(ordered[np.argmax(between)])


def guarded(mask: Mask, body: Mask, *, least_iou: float) -> tuple[Mask, Mask]:
    """Check level 1 against the parser's `body` (N x H x W): which cluster is the person, and in which images.

    Returns the mask, or its complement where that overlaps the bodies better, and one flag an image: an image is
    trusted where mask and body overlap by at least `least_iou`.
    """
    if _iou(~mask, body, axis=None) > _iou(mask, body, axis=None):
        mask = ~mask
    return mask, _iou(mask, body, axis=(1, 2)) >= least_iou


def parts(features: NDArray[np.float32], mask: Mask, count: int, seed: int, device: Device = "cpu") -> Labels | None:
    """Level 2: `count` clusters of the directions of the cells in `mask`, from top (1) to bottom, 0 outside.

    features: N x H x W x C. Clusters carry no meaning: they are ranked by their mean row. None where the mask holds
    fewer cells than there are clusters.
    """
    cells = features[mask]
    if len(cells) < count:
        return None
    cells = cells / np.linalg.norm(cells, axis=1, keepdims=True)
    found = kmeans(cells, count, seed, device)
    rows = np.nonzero(mask)[1]
    sizes = np.bincount(found, minlength=count)
    means = np.bincount(found, weights=rows, minlength=count) / np.maximum(sizes, 1)
    rank = np.empty(count, dtype=np.uint8)
    rank[np.argsort(means, kind="stable")] = np.arange(1, count + 1, dtype=np.uint8)
    labels: Labels = np.zeros(mask.shape, dtype=np.uint8)
    labels[mask] = rank[found]
    return labels


def _iou(a: Mask, b: Mask, axis: tuple[int, ...] | None) -> NDArray[np.float64]:
    union = (a | b).sum(axis=axis)
    return np.asarray((a & b).sum(axis=axis) / np.maximum(union, 1))
