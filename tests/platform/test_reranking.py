from __future__ import annotations

import numpy as np
import pytest

from vestigo.evaluation import reranked_chunks


def naive(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """The published procedure with sets and loops over all pairs."""
    features = np.concatenate([query, gallery]).astype(float)
    n = len(features)
    distance = np.array([[round(((a - b) ** 2).sum(), 9) for b in features] for a in features])
    distance = distance / distance.max(axis=1, keepdims=True)
    ranks = [sorted(range(n), key=lambda j, i=i: (distance[i][j], j)) for i in range(n)]

    def mutual(i: int, k: int) -> set[int]:
        return {j for j in ranks[i][: k + 1] if i in ranks[j][: k + 1]}

    encoding = np.zeros((n, n))
    for i in range(n):
        own = mutual(i, k1)
        expanded = set(own)
        for candidate in own:
            theirs = mutual(candidate, int(np.around(k1 / 2)))
            if len(theirs & own) > 2 / 3 * len(theirs):
                expanded |= theirs
        for j in expanded:
            encoding[i, j] = np.exp(-distance[i, j])
        encoding[i] /= encoding[i].sum()
    encoding = np.array([np.mean([encoding[j] for j in ranks[i][:k2]], axis=0) for i in range(n)])
    final = np.zeros((len(query), len(gallery)))
    for q in range(len(query)):
        for g in range(len(gallery)):
            shared = np.minimum(encoding[q], encoding[len(query) + g]).sum()
            jaccard = 1 - shared / (2 - shared)
            final[q, g] = jaccard * (1 - weight) + distance[q, len(query) + g] * weight
    return final


def people(rng: np.random.Generator, count: int, identities: int) -> np.ndarray:
    centres = rng.normal(size=(identities, 12))
    features = centres[rng.integers(0, identities, count)] + 0.5 * rng.normal(size=(count, 12))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (7, 3, 0.0), (6, 1, 1.0), (500, 2, 0.5)])
def test_agrees_with_naive_loop(k1: int, k2: int, weight: float) -> None:
    rng = np.random.default_rng(5)
    query, gallery = people(rng, 9, 6), people(rng, 51, 6)
    found = np.concatenate(list(reranked_chunks(query, gallery, k1=k1, k2=k2, weight=weight, chunk=4)))
    expected = naive(query, gallery, min(k1, 59), k2, weight)
    assert found == pytest.approx(expected, abs=1e-9)


def test_equal_images_do_not_divide_by_zero() -> None:
    same = np.ones((4, 3)) / np.sqrt(3)
    (distances,) = reranked_chunks(same[:1], same[1:])
    assert np.isfinite(distances).all()
