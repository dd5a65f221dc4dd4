from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestigo.ranking.top_k import GalleryPart, Ranking, query_factors, rank, rank_part
from vestigo.retrieval.query import fuse_views
from vestigo_models.errors import UsageError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures


def unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def descriptors(rng: np.random.Generator, count: int, dim: int, always: int = 1, parts: int = 0) -> Descriptors:
    """Blocks of `dim` numbers each; what is invisible is 0."""
    visible = rng.random((count, parts)) < 0.6
    blocks = [unit(rng, count, dim) for _ in range(always)]
    blocks += [unit(rng, count, dim) * visible[:, part : part + 1] for part in range(parts)]
    return Descriptors(vectors=np.concatenate(blocks, axis=1), visible=visible, always=always)


LAYOUTS = [(1, 0), (3, 5), (2, 0), (1, 2)]


def gallery(
    seed: int, count: int, dim: int, distinct: int, layout: tuple[int, int] = (1, 0)
) -> tuple[list[str], Descriptors]:
    """`count` crops of which many are equal, under ids in no order."""
    rng = np.random.default_rng(seed)
    ids = [f"{number:020x}" for number in rng.permutation(count)]
    return ids, descriptors(rng, distinct, dim, *layout)[rng.integers(0, distinct, count)]


def naive_distance(query: Descriptors, crop: Descriptors, dim: int) -> float:
    """Equation 14 of two people, block by block."""
    q, g = query.vectors[0].astype(float), crop.vectors[0].astype(float)
    total, terms = 0.0, 0
    for block in range(len(q) // dim):
        part = block - query.always
        if part >= 0 and not (query.visible[0, part] and crop.visible[0, part]):
            continue
        terms += 1
        total += 1 - sum(a * b for a, b in zip(q[block * dim :][:dim], g[block * dim :][:dim], strict=True))
    return total / terms


def naive(queries: Descriptors, ids: list[str], crops: Descriptors, k: int, dim: int) -> list[list[tuple[str, float]]]:
    answer = []
    for query in range(len(queries)):
        query_row = queries[[query]]
        distances = [(round(naive_distance(query_row, crops[[row]], dim), 12), name) for row, name in enumerate(ids)]
        answer.append([(name, distance) for distance, name in sorted(distances)[:k]])
    return answer


def batches(ids: list[str], crops: Descriptors, cuts: list[int]) -> list[GalleryPart]:
    bounds = [0, *sorted(cuts), len(ids)]
    return [GalleryPart.of(np.array(ids[a:b], "S"), crops[a:b]) for a, b in pairwise(bounds)]


def answers(ranking: Ranking) -> list[list[tuple[str, float]]]:
    return [ranking.neighbours(position) for position in range(len(ranking.ids))]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("k", [1, 5, 300])
@pytest.mark.parametrize("distinct", [3, 40, 200])
def test_agrees_with_naive_loop(k: int, distinct: int, layout: tuple[int, int]) -> None:
    ids, crops = gallery(1, 200, 11, distinct, layout)
    queries = descriptors(np.random.default_rng(2), 4, 11, *layout)
    ranking = rank(queries, batches(ids, crops, [70, 71, 150]), k)
    assert ranking.compared == 200
    for answer, expected in zip(answers(ranking), naive(queries, ids, crops, k, 11), strict=True):
        assert [name for name, _ in answer] == [name for name, _ in expected]
        assert [distance for _, distance in answer] == pytest.approx([d for _, d in expected], abs=1e-6)


def test_one_block_is_the_cosine_bit_for_bit() -> None:
    ids, crops = gallery(3, 90, 32, 90)
    query = descriptors(np.random.default_rng(4), 1, 32)
    for name, distance in rank(query, batches(ids, crops, [33]), 90).neighbours(0):
        row = crops.vectors[ids.index(name)]
        assert distance == max(1.0 - (query.vectors[0].astype(np.float64) * row).sum(), 0.0)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_batches_never_change_a_bit(layout: tuple[int, int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 120))
    k = data.draw(st.integers(1, 30))
    ids, crops = gallery(data.draw(st.integers(0, 9)), count, 32, max(1, count // 3), layout)
    queries = descriptors(np.random.default_rng(3), 4, 32, *layout)
    cuts = data.draw(st.lists(st.integers(0, count), max_size=8))
    parts = batches(ids, crops, cuts)
    whole = answers(rank(queries, batches(ids, crops, []), k))
    assert answers(rank(queries, parts, k)) == whole
    assert answers(rank(queries, data.draw(st.permutations(parts)), k)) == whole
    # The same as a fold over workers that do not know each other's results.
    merged = Ranking.empty(4, k)
    for part in data.draw(st.permutations(parts)):
        merged = rank_part(query_factors(queries), part, k).merge(merged)
    assert answers(merged) == whole
    assert merged.compared == count


def test_many_queries_at_once_are_the_queries_one_by_one() -> None:
    ids, crops = gallery(4, 500, 8, 400, (2, 3))
    queries = descriptors(np.random.default_rng(5), 600, 8, 2, 3)
    together = answers(rank(queries, batches(ids, crops, [123]), 7))
    for position in (0, 1, 255, 256, 257, 599):
        alone = rank(queries[position : position + 1], batches(ids, crops, [400]), 7)
        assert answers(alone) == [together[position]]


def test_penalties_are_added_and_infinity_discards() -> None:
    ids, crops = gallery(9, 300, 8, 250, (2, 3))
    queries = descriptors(np.random.default_rng(5), 300, 8, 2, 3)
    added = np.random.default_rng(6).choice([0.0, 0.0, 0.25], (300, 300))
    kept = np.random.default_rng(7).random((300, 300)) < 0.7
    (whole,) = batches(ids, crops, [])
    batch = replace(whole, keeps=lambda rows: kept[rows], added=lambda rows: added[rows])
    plain = answers(rank(queries, batches(ids, crops, []), 300))
    ranked = answers(rank(queries, [batch], 40))
    for query in (0, 1, 255, 256, 299):
        stay = [(name, distance) for name, distance in plain[query] if kept[query, ids.index(name)]]
        moved = [(name, distance + added[query, ids.index(name)]) for name, distance in stay]
        expected = sorted(moved, key=lambda pair: (pair[1], pair[0]))
        assert ranked[query] == expected[:40]


def test_own_crops_are_left_out() -> None:
    ids, crops = gallery(6, 50, 16, 50)
    ranking = rank(crops[:3], batches(ids, crops, []), 5)
    without = ranking.excluding([[ids[0]], [], [ids[2], ids[1], "unheard-of"]], 4)
    assert ids[0] not in dict(without.neighbours(0))
    assert without.neighbours(1) == ranking.neighbours(1)[:4]
    assert [pair for pair in ranking.neighbours(0) if pair[0] != ids[0]][:4] == without.neighbours(0)
    assert len(without.neighbours(2)) >= 3


def test_small_galleries_give_short_rankings() -> None:
    queries = descriptors(np.random.default_rng(7), 2, 8)
    assert answers(rank(queries, [], 5)) == [[], []]
    assert [len(answer) for answer in answers(rank(queries, batches(["a"], queries[:1], []), 5))] == [1, 1]
    assert rank(queries, [], 5).compared == 0


def features(descriptors: Descriptors, probabilities: np.ndarray | None = None) -> CropFeatures:
    empty = np.empty((len(descriptors), 0), np.float32)
    return CropFeatures(
        descriptors=descriptors, probabilities=empty if probabilities is None else probabilities, areas=empty
    )


def test_views_are_fused_by_their_mean() -> None:
    views = descriptors(np.random.default_rng(8), 3, 16)
    mean = views.vectors.astype(float).sum(axis=0) / 3
    assert fuse_views(features(views)).descriptors.vectors[0] == pytest.approx(
        mean / np.sqrt((mean**2).sum()), abs=1e-6
    )
    assert fuse_views(features(views[:1])).descriptors.vectors[0] == pytest.approx(views.vectors[0], abs=1e-6)
    backwards = fuse_views(features(views[::-1])).descriptors.vectors
    assert backwards == pytest.approx(fuse_views(features(views)).descriptors.vectors, abs=1e-6)
    apart = Descriptors(vectors=np.array([[1, 0], [-1, 0]], dtype=np.float32), visible=np.empty((2, 0), bool), always=1)
    with pytest.raises(UsageError, match="nothing in common"):
        fuse_views(features(apart))


def test_each_block_is_fused_over_the_views_that_show_it() -> None:
    views = descriptors(np.random.default_rng(9), 4, 5, 2, 3)
    views = Descriptors(vectors=views.vectors.copy(), visible=views.visible.copy(), always=2)
    views.visible[:, 2] = False
    views.vectors[:, 20:] = 0
    probabilities = np.random.default_rng(1).dirichlet([1, 1, 1], 4).astype(np.float32)
    fused = fuse_views(features(views, probabilities), (5,) * 5)
    for block in range(5):
        shown = [row for row in range(4) if block < 2 or views.visible[row, block - 2]]
        total = sum((views.vectors[row, 5 * block : 5 * block + 5].astype(float) for row in shown), np.zeros(5))
        length = np.sqrt((total**2).sum()) or 1.0
        fused_block = fused.descriptors.vectors[0, 5 * block : 5 * block + 5]
        assert fused_block == pytest.approx(total / length, abs=1e-6)
    assert fused.descriptors.visible.tolist() == [[bool(views.visible[:, part].any()) for part in range(3)]]
    assert not fused.descriptors.visible[0, 2]
    assert fused.probabilities[0] == pytest.approx(sum(probabilities.astype(float)) / 4, abs=1e-6)


def test_a_part_on_which_views_contradict_each_other_is_not_compared() -> None:
    vectors = np.array([[1, 0, 0, 1], [1, 0, 0, -1]], dtype=np.float32)
    views = Descriptors(vectors=vectors, visible=np.ones((2, 1), bool), always=1)
    fused = fuse_views(features(views), (2, 2)).descriptors
    assert fused.vectors.tolist() == [[1, 0, 0, 0]]
    assert not fused.visible.any()
