"""Losses against centroids, and their update."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vestigo_models.adaptation.clusters import NOT_CLUSTERED, unit_length
from vestigo_models.adaptation.memory import CentroidMemory

RNG = np.random.default_rng(5)
VECTORS = unit_length(RNG.standard_normal((20, 6)).astype(np.float32))
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, NOT_CLUSTERED] * 2)
CAMERAS = np.repeat([0, 1], 10)


def memory(**settings: float) -> CentroidMemory:
    return CentroidMemory(VECTORS, LABELS, CAMERAS, **settings)  # type: ignore[arg-type]


def test_centroids_are_unit_means_of_clusters_and_cameras() -> None:
    filled = memory()
    for cluster in range(3):
        mean = VECTORS[cluster == LABELS].mean(axis=0)
        assert np.allclose(filled.clusters[cluster], mean / np.linalg.norm(mean), atol=1e-6)
    pairs = list(zip(filled.proxy_clusters.tolist(), filled.proxy_cameras.tolist(), strict=True))
    assert pairs == [(cluster, camera) for cluster in range(3) for camera in range(2)]
    mean = VECTORS[(LABELS == 1) & (CAMERAS == 1)].mean(axis=0)
    assert np.allclose(filled.proxies[pairs.index((1, 1))], mean / np.linalg.norm(mean), atol=1e-6)


def test_losses_are_those_of_the_papers() -> None:
    filled = memory(temperature=0.1, camera_weight=0.7, hard_negatives=2)
    rows = np.array([0, 4, 12, 17])
    terms = filled(torch.from_numpy(VECTORS[rows]), torch.from_numpy(LABELS[rows]), torch.from_numpy(CAMERAS[rows]))
    cluster_losses, camera_losses = [], []
    for row in rows:
        similar = [float(VECTORS[row] @ centroid.numpy()) / 0.1 for centroid in filled.clusters]
        cluster_losses.append(np.log(sum(np.exp(similar))) - similar[LABELS[row]])
        proxies = [
            (int(c), int(k), float(VECTORS[row] @ p.numpy()) / 0.1)
            for c, k, p in zip(filled.proxy_clusters, filled.proxy_cameras, filled.proxies, strict=True)
        ]
        within = [s for _, k, s in proxies if k == CAMERAS[row]]
        own = next(s for c, k, s in proxies if c == LABELS[row] and k == CAMERAS[row])
        positives = [s for c, k, s in proxies if c == LABELS[row] and k != CAMERAS[row]]
        negatives = sorted((s for c, _, s in proxies if c != LABELS[row]), reverse=True)[:2]
        total = np.log(sum(np.exp(positives + negatives)))
        across = np.mean([total - s for s in positives])
        camera_losses.append(np.log(sum(np.exp(within))) - own + 0.5 * across)
    assert float(terms["cluster"]) == pytest.approx(np.mean(cluster_losses), rel=1e-4)
    assert float(terms["camera"]) == pytest.approx(np.mean(camera_losses), rel=1e-4)
    assert float(terms["contrast"]) == pytest.approx(np.mean(cluster_losses) + 0.7 * np.mean(camera_losses), rel=1e-4)


def test_clusters_of_one_camera_have_no_loss_across_cameras() -> None:
    filled = CentroidMemory(VECTORS[:10], LABELS[:10], CAMERAS[:10])
    vectors = torch.from_numpy(VECTORS[:3]).requires_grad_()
    terms = filled(vectors, torch.from_numpy(LABELS[:3]), torch.from_numpy(CAMERAS[:3]))
    terms["contrast"].backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()


def test_update_moves_centroids_towards_hardest_crop() -> None:
    filled = memory(momentum=0.1)
    before = filled.clusters.clone()
    rows = np.array([0, 1, 2, 10])
    hardest = min(rows, key=lambda row: float(VECTORS[row] @ before[0].numpy()))
    filled.update(torch.from_numpy(VECTORS[rows]), torch.from_numpy(LABELS[rows]), torch.from_numpy(CAMERAS[rows]))
    expected = 0.1 * before[0].numpy() + 0.9 * VECTORS[hardest]
    assert np.allclose(filled.clusters[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert torch.equal(filled.clusters[1:], before[1:])
    assert torch.allclose(filled.proxies.norm(dim=1), torch.ones(6))
