"""Cascaded clustering of one identity's features: foreground, then parts (docs/method.md, section "Clustering").

The clustering is ISP's (Zhu et al., ECCV 2020). The cells of all images of an identity are clustered together, which
makes the parts consistent across its images. Symbols: N images of the identity; F is N x H x W x C here.
"""

import warnings
from functools import cache

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.nn import functional

from vestigo_models.arrays import BoolArray, Float32Array, Float64Array, FloatArray, Int64Array, UInt8Array

ITERATIONS = 20
Device = torch.device | str


def activation(features: Float32Array) -> Float32Array:
    """Compute the length of each cell's feature, divided by the largest of its image: N x H x W, in 0..1."""
    lengths = np.linalg.norm(features, axis=-1)
    largest = lengths.max(axis=(1, 2), keepdims=True)
    return np.asarray(lengths / np.where(largest > 0, largest, 1), dtype=np.float32)


def find_foreground(features: Float32Array, *, sharpen: bool = True) -> BoolArray:
    """Compute level 1, N x H x W: the more active of two clusters of all cells of an identity.

    With `sharpen`, activations a become sigmoid(10 a - 2) first; off for occluded people.
    """
    active = activation(features)
    values = 1 / (1 + np.exp(2 - 10 * active)) if sharpen else active
    return np.asarray((values > two_means_threshold(values.ravel())) & (active > 0))


def two_means_threshold(values: FloatArray) -> float:
    """Find the threshold of the best 2-means clustering of N numbers; the larger cluster is above it.

    In one dimension clusters are intervals, so the best of N - 1 cuts is found by sorting. Equal numbers are not
    separated; if all are equal, the threshold is the number itself.
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


def guard_foreground(mask: BoolArray, body: BoolArray, *, least_iou: float) -> tuple[BoolArray, BoolArray]:
    """Check level 1 against the parser's bodies, N x H x W both.

    Return the mask, or its complement if that overlaps the bodies better; and whether each image is trusted, (N,): its
    mask and body overlap by at least `least_iou`.
    """
    if _iou(~mask, body, axis=None) > _iou(mask, body, axis=None):
        mask = ~mask
    return mask, _iou(mask, body, axis=(1, 2)) >= least_iou


def cluster_parts(
    features: Float32Array, mask: BoolArray, count: int, seed: int, device: Device = "cpu"
) -> UInt8Array | None:
    """Compute level 2: `count` = K_c - 1 clusters of the directions of F in the foreground `mask`, N x H x W.

    Labels are numbered by the mean row of their cluster, from 1 (top) to `count` (bottom), and have no other meaning; 0
    is outside the mask. None if the mask has fewer cells than there are clusters. `seed` is that of the first centres.
    """
    cells = features[mask]
    if len(cells) < count:
        return None
    cells = cells / np.linalg.norm(cells, axis=1, keepdims=True)
    clusters = kmeans(cells, count, seed, device)
    rows = np.nonzero(mask)[1]
    sizes = np.bincount(clusters, minlength=count)
    means = np.bincount(clusters, weights=rows, minlength=count) / np.maximum(sizes, 1)
    rank = np.empty(count, dtype=np.uint8)
    rank[np.argsort(means, kind="stable")] = np.arange(1, count + 1, dtype=np.uint8)
    labels: UInt8Array = np.zeros(mask.shape, dtype=np.uint8)
    labels[mask] = rank[clusters]
    return labels


def kmeans(points: Float32Array, count: int, seed: int, device: Device = "cpu") -> Int64Array:
    """Cluster N x D points with at most 20 Lloyd iterations from random points: clusters, (N,).

    An empty cluster restarts at the point that is farthest from its own centre. A CPU uses scikit-learn, other devices
    `lloyd`. All devices of one kind give the same result; a GPU rounds differently from a CPU.
    """
    if torch.device(device).type == "cpu":
        return _sklearn_kmeans(points, count, seed)
    return lloyd(torch.from_numpy(points).to(device), initial_centres(len(points), count, seed)).cpu().numpy()


def initial_centres(points: int, count: int, seed: int) -> Int64Array:
    """Return the indices of the points that scikit-learn starts from with `init="random"`."""
    even = np.full(points, 1 / points)
    return np.random.RandomState(seed).choice(points, size=count, replace=False, p=even)


@torch.inference_mode()
def lloyd(points: Tensor, first: Int64Array) -> Tensor:
    """Cluster N x D points from the centres with the indices `first`, on any device: clusters, (N,) int64.

    Sums are matrix products, because scattered additions have no fixed order on a GPU.
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


def _sklearn_kmeans(points: Float32Array, count: int, seed: int) -> Int64Array:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    clustering = KMeans(count, init="random", n_init=1, max_iter=ITERATIONS, tol=0, random_state=seed)
    # Several threads add in another order: centres would depend on the number of cores.
    with _thread_pools().limit(limits=1), warnings.catch_warnings():
        # Fewer distinct points than clusters give fewer clusters, which is no error.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(clustering.fit_predict(points), dtype=np.int64)


@cache
def _thread_pools() -> ThreadpoolController:
    """Return the thread pools of the loaded libraries; scikit-learn must be loaded before."""
    return ThreadpoolController()


def _iou(a: BoolArray, b: BoolArray, axis: tuple[int, ...] | None) -> Float64Array:
    union = (a | b).sum(axis=axis)
    return np.asarray((a & b).sum(axis=axis) / np.maximum(union, 1))
