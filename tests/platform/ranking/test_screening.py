"""Rough distances decide only what exact ones decide alike."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.distances import dense
from vestigo.ranking.distance import distance_chunks
from vestigo.ranking.screening import DistanceBlock, kth_bound
from vestigo_models.inference.distance import Descriptors


def crowded(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Features of which many are equal, and many differ by less than float32 products do."""
    centres = rng.normal(size=(7, dim))
    features = centres[rng.integers(0, 7, count)] + 1e-7 * rng.integers(0, 3, (count, 1))
    return features.astype(np.float32)


def described(features: np.ndarray, rng: np.random.Generator) -> Descriptors:
    blocks = features.reshape(len(features), 4, -1).copy()
    visible = rng.random((len(features), 2)) < 0.7
    blocks[:, 2:][~visible] = 0
    blocks /= np.maximum(np.linalg.norm(blocks, axis=2, keepdims=True), 1e-30)
    return Descriptors(vectors=blocks.reshape(len(features), -1), visible=visible, always=2)


@pytest.mark.parametrize("kind", ["cosine", "euclidean", "descriptors"])
@pytest.mark.parametrize("k", [1, 9, 40, 90])
def test_nearest_are_those_of_a_sort(kind: str, k: int) -> None:
    rng = np.random.default_rng(3)
    query, gallery = crowded(rng, 11, 64), crowded(rng, 83, 64)
    sides = (described(query, rng), described(gallery, rng)) if kind == "descriptors" else (query, gallery)
    metric = "euclidean" if kind == "euclidean" else "cosine"
    blocks = list(distance_chunks(*sides, metric=metric, chunk=4))
    distances = dense(blocks)
    compared = rng.random(distances.shape) < 0.8
    found = [block.among(rows).nearest(k) for block, rows in zip(blocks, np.split(compared, [4, 8]), strict=True)]
    nearest, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    for row in range(11):
        order = sorted(np.flatnonzero(compared[row]).tolist(), key=lambda at, row=row: (distances[row, at], at))[:k]
        assert nearest[row].tolist() == order + [-1] * (k - len(order))
        assert values[row].tolist() == [distances[row, at] for at in order] + [np.inf] * (k - len(order))
    assert np.concatenate([block.farthest() for block in blocks]).tolist() == distances.max(axis=1).tolist()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e18])
def test_vectors_of_any_length_are_ranked(scale: float) -> None:
    rng = np.random.default_rng(4)
    query, gallery = (scale * rng.normal(size=(count, 20)) for count in (5, 60))
    for metric in ("cosine", "euclidean"):
        (block,) = distance_chunks(query, gallery, metric=metric)
        assert np.isfinite(block.rough).all()
        expected = [[square(a, b, metric) for b in gallery] for a in query]
        if metric == "cosine" or scale > 1e-12:
            assert block.nearest(5)[0].tolist() == np.argsort(expected, axis=1)[:, :5].tolist()


def square(a: np.ndarray, b: np.ndarray, metric: str) -> float:
    if metric == "euclidean":
        return float(((a - b) ** 2).sum())
    return float(1 - (a / np.linalg.norm(a) * (b / np.linalg.norm(b))).sum())


def test_changed_distances_are_changed_alike() -> None:
    rng = np.random.default_rng(5)
    (block,) = distance_chunks(crowded(rng, 6, 16), crowded(rng, 40, 16))
    kept, others = rng.random((6, 40)) < 0.5, rng.integers(2, 5, (6, 40)).astype(float)
    added, factor = rng.random((6, 40)), rng.random((6, 1)) + 0.5
    expected = np.where(kept, block.dense(), others)
    assert dense([block.changed(kept, others)]).tolist() == expected.tolist()
    both = block.changed(kept, others).combined(factor, added)
    assert dense([both]).tolist() == (expected * factor + added).tolist()
    assert (both.nearest(3)[0] == np.argsort(expected * factor + added, axis=1, kind="stable")[:, :3]).all()


def test_bound_is_at_least_the_kth_smallest() -> None:
    rng = np.random.default_rng(6)
    for count, k in ((1, 1), (5, 7), (400, 3), (1000, 20), (64, 64)):
        distances = rng.random((8, count)).astype(np.float32)
        bound = kth_bound(distances, k)
        if count < k:
            assert np.isinf(bound).all()
        else:
            assert (bound >= np.sort(distances, axis=1)[:, k - 1]).all()
            assert ((distances <= bound[:, None]).sum(axis=1) <= 3 * k + 8).all()


def test_exact_distances_are_not_computed_again_for_discarded_pairs() -> None:
    asked = []

    def exact(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        asked.extend(zip(rows.tolist(), columns.tolist(), strict=True))
        return np.zeros(len(rows))

    block = DistanceBlock(rough=np.zeros((2, 3), np.float32), margin=0.1, exact=exact)
    kept = np.array([[True, False, False], [False, False, True]])
    block.changed(kept, np.full((2, 3), 7.0)).dense()
    assert sorted(asked) == [(0, 0), (1, 2)]
