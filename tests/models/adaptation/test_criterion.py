"""The label-free criterion."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.adaptation.test_clusters import people
from vestigo_models.adaptation.clusters import NOT_CLUSTERED, centre_cameras
from vestigo_models.adaptation.criterion import cross_camera_silhouette


def test_silhouette_is_that_of_a_double_loop() -> None:
    vectors, labels, cameras = people(6, 6, noise=0.4)
    labels = labels.copy()
    labels[::7] = NOT_CLUSTERED
    centred = centre_cameras(vectors, cameras).astype(np.float64)
    values = []
    for row in range(len(labels)):
        if labels[row] == NOT_CLUSTERED:
            values.append(0.0)
            continue
        distance = {}
        for cluster in range(6):
            members = centred[(labels == cluster) & (cameras != cameras[row])]
            mean = members.sum(axis=0)
            distance[cluster] = 1 - centred[row] @ mean / np.linalg.norm(mean)
        a = distance.pop(labels[row])
        b = min(distance.values())
        values.append((b - a) / max(a, b))
    assert cross_camera_silhouette(vectors, labels, cameras) == pytest.approx(np.mean(values), abs=1e-5)


def test_silhouette_falls_with_noise() -> None:
    values = [cross_camera_silhouette(*people(20, 6, noise=noise)) for noise in (0.1, 0.2, 0.4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.5


def test_clusters_of_one_camera_count_nothing() -> None:
    vectors, labels, _ = people(4, 6)
    assert cross_camera_silhouette(vectors, labels, labels % 2) <= 0
