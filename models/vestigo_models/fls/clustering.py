"""Cascaded clustering of one identity's features: where a person is, and in which parts (specification, section 5.2).

The clustering is ISP's (Zhu et al., ECCV 2020): activations tell foreground from background, then the foreground cells
of all images of an identity are clustered together, which makes the parts consistent across its images.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.nn import functional

ITERATIONS = 20
_THREADS = ThreadpoolController()


def kmeans(points: NDArray[np.float32], count: int, seed: int, device: torch.device | str = "cpu") -> NDArray[np.int64]:
    """Lloyd's iterations from `count` random points: N x D to the cluster of each, N int64.

    At most 20 iterations; an empty cluster begins anew at the point farthest from its own centre (specification,
    section 5.2). One kind of device gives one answer; two kinds round differently.
    """
    if torch.device(device).type == "cpu":
        return _sklearn(points, count, seed)
    return lloyd(torch.from_numpy(points).to(device), first_centres(len(points), count, seed)).cpu().numpy()


def first_centres(points: int, count: int, seed: int) -> NDArray[np.int64]:
    """Which points scikit-learn begins with for `init="random"`."""
    even = np.full(points, 1 / points)
    return np.random.RandomState(seed).choice(points, size=count, replace=False, p=even)


@torch.inference_mode()
def lloyd(points: Tensor, first: NDArray[np.int64]) -> Tensor:
    """Cluster N x D points from the centres `first` (indices) on any device: N int64.

    Sums are products with one row for each cluster: scattered additions come in no order on a GPU.
    """
    centres = points[torch.from_numpy(first).to(points.device)]
    labels = _nearest(points, centres)
    for _ in range(ITERATIONS):
        members = functional.one_hot(labels, len(centres)).to(points.dtype)
        sizes, sums = members.sum(dim=0), members.T @ points
        empty = torch.nonzero(sizes == 0).flatten().tolist()
        if empty:
            away = (points - centres[labels]).square().sum(dim=1)
            for cluster, point in zip(empty, away.topk(len(empty)).indices.tolist(), strict=True):
                sums[labels[point]] -= points[point]
                sizes[labels[point]] -= 1
                sums[cluster], sizes[cluster] = points[point], 1
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centres)
        old, labels = labels, _nearest(points, centres)
        if torch.equal(old, labels):
            break
    return labels


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return (centres.square().sum(dim=1) - 2 * points @ centres.T).argmin(dim=1)


def _sklearn(points: NDArray[np.float32], count: int, seed: int) -> NDArray[np.int64]:
    clustering = KMeans(count, init="random", n_init=1, max_iter=ITERATIONS, tol=0, random_state=seed)
    # Several threads add up in another order: a centre would depend on how many cores a machine has.
    with _THREADS.limit(limits=1), warnings.catch_warnings():
        # Points of fewer places than there are clusters make fewer of them, which is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(clustering.fit_predict(points), dtype=np.int64)


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
