"""Pseudo-identities: neighbours, Jaccard distances and clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestigo_models.adaptation.clusters import (
    NOT_CLUSTERED,
    ClusterSettings,
    centre_cameras,
    cluster_tracklets,
    jaccard_graph,
    nearest_neighbours,
    number_by_first,
    unit_length,
)

SETTINGS = ClusterSettings(k1=6, k2=2, radius=0.6, min_crops=3)


def people(count: int, crops: int, *, noise: float = 0.15, seed: int = 0) -> tuple[NDArray[np.float32], ...]:
    """Unit vectors of people before two cameras, their identities and their cameras."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(count), crops)
    centres = unit_length(rng.standard_normal((count, 32)).astype(np.float32))
    vectors = centres[identities] + noise * rng.standard_normal((count * crops, 32)).astype(np.float32)
    return unit_length(vectors), identities, np.tile([0, 1], count * crops // 2)


def test_clusters_are_identities_across_cameras() -> None:
    vectors, identities, cameras = people(12, 8)
    vectors = unit_length(vectors + np.where(cameras, 1.0, -1.0)[:, None].astype(np.float32) * 0.5)
    labels = cluster_tracklets(vectors, np.arange(len(vectors)), cameras, SETTINGS)
    assert np.array_equal(labels, identities)


def test_crops_of_tracklet_are_never_separated() -> None:
    vectors, identities, cameras = people(12, 8, noise=0.6)
    tracklets = identities * 2 + cameras
    tracklets = np.unique(tracklets, return_inverse=True)[1]
    labels = cluster_tracklets(vectors, tracklets, cameras, SETTINGS)
    for tracklet in range(24):
        assert len(set(labels[tracklets == tracklet])) == 1
    # Four crops of a tracklet are dense by themselves.
    assert (labels != NOT_CLUSTERED).all()


def test_lone_crops_are_not_clustered() -> None:
    vectors, identities, cameras = people(12, 8, noise=0.05)
    strangers = unit_length(np.random.default_rng(1).standard_normal((2, 32)).astype(np.float32))
    vectors, cameras = np.concatenate([vectors, strangers]), np.concatenate([cameras, [0, 1]])
    labels = cluster_tracklets(vectors, np.arange(len(vectors)), cameras, SETTINGS)
    assert labels[-2:].tolist() == [NOT_CLUSTERED, NOT_CLUSTERED]
    assert np.array_equal(labels[:-2], identities)


def test_nearest_neighbours_are_those_of_a_full_sort() -> None:
    vectors = unit_length(np.random.default_rng(3).standard_normal((700, 5)).astype(np.float32))
    distances = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, -1)
    assert np.array_equal(nearest_neighbours(vectors, 4), np.argsort(distances, axis=1)[:, :4])


def test_jaccard_graph_is_that_of_weighted_neighbour_sets() -> None:
    """The distance of two weighted sets is one minus the sum of minima over the sum of maxima."""
    vectors, _, _ = people(4, 6, noise=0.6)
    neighbours = nearest_neighbours(vectors, 7)
    graph = jaccard_graph(vectors, neighbours, ClusterSettings(k2=1, radius=0.9)).toarray()
    mutual = [[j for j in neighbours[i] if i in neighbours[j]] for i in range(24)]
    half = [[j for j in neighbours[i][:4] if i in neighbours[j][:4]] for i in range(24)]
    encoding = np.zeros((24, 24))
    for i in range(24):
        expanded = set(mutual[i])
        for j in mutual[i]:
            if len(set(half[j]) & set(mutual[i])) > 2 / 3 * len(half[j]):
                expanded |= set(half[j])
        for j in expanded:
            encoding[i, j] = np.exp(-((vectors[i] - vectors[j]) ** 2).sum())
        encoding[i] /= encoding[i].sum()
    for i in range(24):
        for j in range(24):
            distance = 1 - np.minimum(encoding[i], encoding[j]).sum() / np.maximum(encoding[i], encoding[j]).sum()
            assert abs(graph[i, j] - (distance if distance <= 0.9 else 0.0)) < 1e-5


def test_cameras_are_centred_one_by_one() -> None:
    vectors = unit_length(np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32))
    cameras = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    expected = []
    for vector, camera in zip(vectors, cameras, strict=True):
        mean = sum(v for v, c in zip(vectors, cameras, strict=True) if c == camera) / (cameras == camera).sum()
        expected.append((vector - mean) / np.sqrt(((vector - mean) ** 2).sum()))
    assert np.allclose(centre_cameras(vectors, cameras), expected, atol=1e-5)


def test_labels_are_numbered_by_their_first_row() -> None:
    assert number_by_first(np.array([7, -1, 2, 7, 0, -1])).tolist() == [0, NOT_CLUSTERED, 1, 0, 2, NOT_CLUSTERED]
