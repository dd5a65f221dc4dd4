"""k-means on any device agrees with scikit-learn and a naive loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vestigo_models.fls.clustering import initial_centres, kmeans, lloyd


def blobs(seed: int, points: int = 300, dims: int = 8) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, (7, dims))[rng.integers(0, 7, points)] + rng.normal(0, 0.4, (points, dims))).astype(
        np.float32
    )


@pytest.mark.parametrize("seed", range(8))
def test_lloyd_agrees_with_scikit_learn(seed: int) -> None:
    points = blobs(seed)
    clusters = lloyd(torch.from_numpy(points), initial_centres(len(points), 5, seed))
    np.testing.assert_array_equal(clusters.numpy(), kmeans(points, 5, seed))


@pytest.mark.parametrize("seed", range(4))
def test_lloyd_agrees_with_naive_loop(seed: int) -> None:
    points = blobs(seed, 60, 3)
    first = initial_centres(60, 4, seed)
    centres = [points[i].astype(np.float64) for i in first]

    def nearest(point: NDArray[np.float32]) -> int:
        return min(range(4), key=lambda k: float(((point - centres[k]) ** 2).sum()))

    labels = [nearest(point) for point in points]
    for _ in range(20):
        for k in range(4):
            mine = [p for p, label in zip(points, labels, strict=True) if label == k]
            centres[k] = sum(mine) / len(mine)
        labels = [nearest(point) for point in points]
    assert lloyd(torch.from_numpy(points), first).tolist() == labels


def test_an_empty_cluster_begins_anew_at_the_farthest_point() -> None:
    points = np.array([[0, 0], [0, 0], [0, 1], [0, 1], [9, 9]], dtype=np.float32)
    clusters = lloyd(torch.from_numpy(points), np.array([0, 1, 2]))
    assert clusters[0] == clusters[1] != clusters[2] == clusters[3]
    assert clusters[4] not in (clusters[0], clusters[2])


def test_fewer_places_than_clusters_are_no_fault() -> None:
    points = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    for clusters in (kmeans(points, 3, 0), lloyd(torch.from_numpy(points), np.array([0, 1, 4])).numpy()):
        assert len(set(clusters[:4])) == len(set(clusters[4:])) == 1
        assert clusters[0] != clusters[4]
