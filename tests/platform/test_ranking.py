from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestigo.retrieval import Ranking, fuse, rank, rank_batch
from vestigo_models.errors import UsageError


def unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def gallery(seed: int, count: int, dim: int, distinct: int) -> tuple[list[str], np.ndarray]:
    """`count` crops of which many are equal, under ids in no order."""
    rng = np.random.default_rng(seed)
    ids = [f"{number:020x}" for number in rng.permutation(count)]
    return ids, unit(rng, distinct, dim)[rng.integers(0, distinct, count)]


def naive(queries: np.ndarray, ids: list[str], embeddings: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    answer = []
    for query in queries.astype(float):
        distances = [(1 - (query * row).sum(), name) for row, name in zip(embeddings.astype(float), ids, strict=True)]
        answer.append([(name, distance) for distance, name in sorted(distances)[:k]])
    return answer


def batches(ids: list[str], embeddings: np.ndarray, cuts: list[int]) -> list[tuple[pa.Array, np.ndarray]]:
    bounds = [0, *sorted(cuts), len(ids)]
    return [(pa.array(ids[a:b], pa.string()), embeddings[a:b]) for a, b in pairwise(bounds)]


def answers(ranking: Ranking) -> list[list[tuple[str, float]]]:
    return [ranking.of_query(position) for position in range(len(ranking.ids))]


@pytest.mark.parametrize("k", [1, 5, 400])
@pytest.mark.parametrize("distinct", [3, 40, 300])
def test_agrees_with_naive_loop(k: int, distinct: int) -> None:
    ids, embeddings = gallery(1, 300, 33, distinct)
    queries = unit(np.random.default_rng(2), 9, 33)
    ranking = rank(queries, batches(ids, embeddings, [70, 71, 200]), k)
    assert ranking.compared == 300
    for found, expected in zip(answers(ranking), naive(queries, ids, embeddings, k), strict=True):
        assert [name for name, _ in found] == [name for name, _ in expected]
        assert [distance for _, distance in found] == pytest.approx([d for _, d in expected], abs=1e-12)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_batches_never_change_a_bit(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 120))
    k = data.draw(st.integers(1, 30))
    ids, embeddings = gallery(data.draw(st.integers(0, 9)), count, 96, max(1, count // 3))
    queries = unit(np.random.default_rng(3), 4, 96)
    cuts = data.draw(st.lists(st.integers(0, count), max_size=8))
    parts = batches(ids, embeddings, cuts)
    whole = answers(rank(queries, batches(ids, embeddings, []), k))
    assert answers(rank(queries, parts, k)) == whole
    assert answers(rank(queries, data.draw(st.permutations(parts)), k)) == whole
    # The same as a fold over workers that do not know each other's results.
    merged = Ranking.of_nothing(4, k)
    for part in data.draw(st.permutations(parts)):
        merged = rank_batch(queries, *part, k).merge(merged)
    assert answers(merged) == whole
    assert merged.compared == count


def test_many_queries_at_once_are_the_queries_one_by_one() -> None:
    ids, embeddings = gallery(4, 500, 24, 400)
    queries = unit(np.random.default_rng(5), 600, 24)
    together = answers(rank(queries, batches(ids, embeddings, [123]), 7))
    for position in (0, 1, 255, 256, 257, 599):
        alone = rank(queries[position : position + 1], batches(ids, embeddings, [400]), 7)
        assert answers(alone) == [together[position]]


def test_own_crops_are_left_out() -> None:
    ids, embeddings = gallery(6, 50, 16, 50)
    queries = embeddings[:3]
    ranking = rank(queries, batches(ids, embeddings, []), 5)
    without = ranking.without([[ids[0]], [], [ids[2], ids[1], "unheard-of"]], 4)
    assert ids[0] not in dict(without.of_query(0))
    assert without.of_query(1) == ranking.of_query(1)[:4]
    assert [pair for pair in ranking.of_query(0) if pair[0] != ids[0]][:4] == without.of_query(0)
    assert len(without.of_query(2)) >= 3


def test_small_galleries_give_short_rankings() -> None:
    queries = unit(np.random.default_rng(7), 2, 8)
    assert answers(rank(queries, [], 5)) == [[], []]
    assert [len(found) for found in answers(rank(queries, batches(["a"], queries[:1], []), 5))] == [1, 1]
    assert rank(queries, [], 5).compared == 0


def test_views_are_fused_by_their_mean() -> None:
    views = unit(np.random.default_rng(8), 3, 16)
    mean = views.astype(float).sum(axis=0) / 3
    assert fuse(views) == pytest.approx(mean / np.sqrt((mean**2).sum()), abs=1e-6)
    assert fuse(views[:1]) == pytest.approx(views[0], abs=1e-6)
    assert fuse(views[::-1]) == pytest.approx(fuse(views), abs=1e-6)
    with pytest.raises(UsageError, match="nothing in common"):
        fuse(np.array([[1, 0], [-1, 0]], dtype=np.float32))
