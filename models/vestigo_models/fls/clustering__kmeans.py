"""k-means: scikit-learn's on a CPU, and the same steps on a GPU, where features of a training are made."""

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
