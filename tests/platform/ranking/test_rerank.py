from __future__ import annotations

import numpy as np
import pytest

from tests.support.distances import dense
from vestigo.ranking.distance import distance_chunks
from vestigo.ranking.rerank import reranked_chunks
from vestigo_models.inference.distance import Descriptors


def naive(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """The published procedure with sets and loops over all pairs."""
    features = np.concatenate([query, gallery]).astype(float)
    squares = np.array([[round(((a - b) ** 2).sum(), 9) for b in features] for a in features])
    return naive_on(squares, len(query), k1, k2, weight)


def naive_on(squares: np.ndarray, queries: int, k1: int, k2: int, weight: float) -> np.ndarray:
    n = len(squares)
    distance = squares / squares.max(axis=1, keepdims=True)
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
    final = np.zeros((queries, n - queries))
    for q in range(queries):
        for g in range(n - queries):
            shared = np.minimum(encoding[q], encoding[queries + g]).sum()
            jaccard = 1 - shared / (2 - shared)
            final[q, g] = jaccard * (1 - weight) + distance[q, queries + g] * weight
    return final


def people(rng: np.random.Generator, count: int, identities: int) -> np.ndarray:
    centres = rng.normal(size=(identities, 12))
    features = centres[rng.integers(0, identities, count)] + 0.5 * rng.normal(size=(count, 12))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (7, 3, 0.0), (6, 1, 1.0), (500, 2, 0.5)])
def test_agrees_with_naive_loop(k1: int, k2: int, weight: float) -> None:
    rng = np.random.default_rng(5)
    query, gallery = people(rng, 9, 6), people(rng, 51, 6)
    reranked = dense(reranked_chunks(query, gallery, k1=k1, k2=k2, weight=weight, chunk=4))
    expected = naive(query, gallery, min(k1, 59), k2, weight)
    assert reranked == pytest.approx(expected, abs=1e-9)


def test_equal_images_do_not_divide_by_zero() -> None:
    same = np.ones((4, 3)) / np.sqrt(3)
    assert np.isfinite(dense(reranked_chunks(same[:1], same[1:]))).all()


def parts(rng: np.random.Generator, count: int, always: int, parts: int) -> Descriptors:
    visible = rng.random((count, parts)) < 0.6
    centres = rng.normal(size=(4, always + parts, 5))
    blocks = centres[rng.integers(0, 4, count)] + 0.4 * rng.normal(size=(count, always + parts, 5))
    blocks /= np.linalg.norm(blocks, axis=2, keepdims=True)
    blocks[:, always:][~visible] = 0
    return Descriptors(vectors=blocks.reshape(count, -1).astype(np.float32), visible=visible, always=always)


def equation_14(a: Descriptors, b: Descriptors) -> float:
    shared = [part for part in range(a.visible.shape[1]) if a.visible[0, part] and b.visible[0, part]]
    blocks = [*range(a.always), *(a.always + part for part in shared)]
    cosines = [(a.vectors[0, 5 * i : 5 * i + 5].astype(float) * b.vectors[0, 5 * i : 5 * i + 5]).sum() for i in blocks]
    return sum(1 - cosine for cosine in cosines) / len(blocks)


@pytest.mark.parametrize(("always", "count"), [(3, 5), (1, 2), (2, 0)])
def test_descriptors_are_compared_by_equation_14(always: int, count: int) -> None:
    rng = np.random.default_rng(7)
    query, gallery = parts(rng, 5, always, count), parts(rng, 21, always, count)
    expected = np.array([[equation_14(query[[q]], gallery[[g]]) for g in range(21)] for q in range(5)])
    reranked = dense(distance_chunks(query, gallery, chunk=2))
    assert reranked == pytest.approx(expected, abs=1e-6)
    everybody = Descriptors.joined([query, gallery])
    own = dense(distance_chunks(everybody, everybody, chunk=99))
    assert np.abs(np.diag(own)).max() <= 1e-10


def test_parts_are_reranked_on_twice_equation_14() -> None:
    rng = np.random.default_rng(8)
    query, gallery = parts(rng, 6, 2, 3), parts(rng, 40, 2, 3)
    everybody = Descriptors.joined([query, gallery])
    squares = np.array([[2 * equation_14(everybody[[a]], everybody[[b]]) for b in range(46)] for a in range(46)])
    expected = naive_on(squares, 6, 10, 4, 0.3)
    reranked = dense(reranked_chunks(query, gallery, k1=10, k2=4, weight=0.3, chunk=4))
    assert reranked == pytest.approx(expected, abs=1e-5)


def test_descriptors_of_one_block_are_reranked_like_their_vectors() -> None:
    rng = np.random.default_rng(9)
    query, gallery = (people(rng, count, 6).astype(np.float32) for count in (7, 40))
    one_block = [
        Descriptors(vectors=vectors, visible=np.empty((len(vectors), 0), bool), always=1)
        for vectors in (query, gallery)
    ]
    for chunks in (reranked_chunks, distance_chunks):
        reranked = [dense(chunks(*pair)) for pair in (one_block, (query, gallery))]
        np.testing.assert_array_equal(*reranked)


def test_features_and_descriptors_are_not_mixed() -> None:
    descriptors = parts(np.random.default_rng(1), 3, 1, 0)
    with pytest.raises(ValueError, match="cannot be compared"):
        next(reranked_chunks(descriptors, descriptors.vectors))
