"""Batches of pseudo-identities."""

from __future__ import annotations

import numpy as np

from vestigo_models.adaptation.clusters import NOT_CLUSTERED
from vestigo_models.adaptation.sampling import cluster_batches

LABELS = np.array([0] * 12 + [1] * 5 + [2] * 2 + [3] * 8 + [NOT_CLUSTERED] * 3)
CAMERAS = np.array([0] * 9 + [1] * 3 + [0, 0, 1, 1, 2] + [0, 1] + [0] * 4 + [1] * 4 + [0, 1, 2])


def plan(clusters: int, crops: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return cluster_batches(LABELS, CAMERAS, clusters=clusters, crops=crops, rng=np.random.default_rng(seed))


def test_batch_holds_crops_of_different_clusters() -> None:
    for seed in range(5):
        for batch in plan(3, 4, seed):
            labels = LABELS[batch].reshape(3, 4)
            assert (labels == labels[:, :1]).all()
            assert len(set(labels[:, 0])) == 3
            assert (labels != NOT_CLUSTERED).all()


def test_crops_of_a_cluster_are_balanced_over_cameras() -> None:
    rows = [group for batch in plan(2, 4) for group in batch.reshape(2, 4) if LABELS[group[0]] == 3]
    assert rows
    assert all(np.bincount(CAMERAS[group]).tolist() == [2, 2] for group in rows)


def test_small_clusters_repeat_their_crops() -> None:
    batches = [group for batch in plan(4, 4) for group in batch.reshape(-1, 4) if LABELS[group[0]] == 2]
    assert batches
    assert all(sorted(set(group)) == [17, 18] for group in batches)


def test_fewer_clusters_than_asked_make_smaller_batches() -> None:
    assert plan(16, 4).shape[1] == 16


def test_batches_depend_on_the_seed_alone() -> None:
    assert np.array_equal(plan(3, 2, 7), plan(3, 2, 7))
    assert not np.array_equal(plan(3, 2, 7), plan(3, 2, 8))
