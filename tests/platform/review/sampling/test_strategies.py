"""What makes a task worth reviewing, beside loops over tasks and attributes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vestigo.review.sampling.strategies import CLUSTERS, DEFAULT, NEIGHBOURS, STEEP, STRATEGIES, Candidates
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA


def drawn(seed: int, count: int = 40) -> Candidates:
    rng = np.random.default_rng(seed)

    def shares(strength: float) -> np.ndarray:
        parts = [rng.dirichlet(np.full(len(a.values), strength), count) for a in SCHEMA.attributes]
        return np.concatenate(parts, axis=1)

    embeddings = rng.normal(size=(count, 6))
    labels = np.stack([rng.integers(-1, len(a.values), count) for a in SCHEMA.attributes], axis=1)
    return Candidates(
        schema=SCHEMA,
        probabilities=shares(0.5),
        votes=shares(0.2),
        embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        labels=labels,
    )


def groups(row: np.ndarray) -> list[list[float]]:
    return [row[SCHEMA.slice(name)].tolist() for name in SCHEMA.names]


@pytest.mark.parametrize("seed", range(3))
def test_doubt_disagreement_rarity_and_wrong_labels(seed: int) -> None:
    found = drawn(seed)
    count = len(found)
    average = [
        [sum(column) / count for column in zip(*part, strict=True)]
        for part in zip(*map(groups, found.probabilities), strict=True)
    ]
    for task in range(count):
        p, votes, labels = groups(found.probabilities[task]), groups(found.votes[task]), found.labels[task].tolist()
        expected = {
            "random": 1.0,
            "least-confident": sum(1 - max(part) for part in p) / 12,
            "disagreement": sum(1 - max(part) for part in votes) / 12,
            "label-errors": sum(max(part) - part[y] for part, y in zip(p, labels, strict=True) if y >= 0) / 12,
            "rare": sum(-a * math.log(b) for x, y in zip(p, average, strict=True) for a, b in zip(x, y, strict=True))
            / 12,
        }
        for name, value in expected.items():
            assert STRATEGIES[name](found)[task] == pytest.approx(value), name


@pytest.mark.parametrize("seed", range(3))
def test_entropy_counts_by_rank(seed: int) -> None:
    found = drawn(seed)

    def doubt(task: int) -> float:
        parts = groups(found.probabilities[task])
        return sum(-sum(x * math.log(x) for x in part if x > 0) / math.log(len(part)) for part in parts)

    doubts = [doubt(task) for task in range(len(found))]
    scores = STRATEGIES["entropy"](found)
    for task, mine in enumerate(doubts):
        rank = sum(other > mine for other in doubts)
        assert scores[task] == pytest.approx(math.exp(-rank / (STEEP * len(found))))
    assert DEFAULT in STRATEGIES


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_count_only_both_ways(seed: int) -> None:
    found = drawn(seed)
    count = len(found)

    def nearest(task: int) -> list[int]:
        others = [i for i in range(count) if i != task]
        return sorted(others, key=lambda i: math.dist(found.embeddings[task], found.embeddings[i]))[:NEIGHBOURS]

    scores = STRATEGIES["neighbours"](found)
    for task in range(count):
        partners = [i for i in nearest(task) if task in nearest(i)]
        apart = 0.0
        if partners:
            theirs = [sum(found.probabilities[i][m] for i in partners) / len(partners) for m in range(SCHEMA.classes)]
            apart = sum(abs(a - b) for a, b in zip(found.probabilities[task], theirs, strict=True)) / 2 / 12
        assert scores[task] == pytest.approx(apart)


def test_a_crowd_that_looks_alike_shares_one_place() -> None:
    alone, crowd = np.eye(8)[:3], np.repeat(np.eye(8)[4:5], 97, axis=0)
    rng = np.random.default_rng(0)
    found = drawn(0, 100)
    noise = rng.normal(0, 1e-3, (100, 8))
    embeddings = np.concatenate([alone, crowd]) + noise
    scores = STRATEGIES["diverse"](
        Candidates(
            schema=SCHEMA,
            probabilities=found.probabilities,
            votes=found.votes,
            embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
            labels=found.labels,
        )
    )
    assert scores.min() > 0
    assert scores[:3].mean() > scores[3:].mean()
    assert scores.sum() <= CLUSTERS + 1e-9


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_scores_a_single_task_and_repeats(name: str) -> None:
    for found in (drawn(5), drawn(6, 1)):
        scores = STRATEGIES[name](found)
        assert scores.shape == (len(found),)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        np.testing.assert_array_equal(scores, STRATEGIES[name](found))


def test_the_mix_gives_each_of_its_parts_a_third_of_the_draw() -> None:
    found = drawn(7)
    parts = [STRATEGIES[name](found) for name in ("least-confident", "disagreement", "rare")]
    expected = [sum(part[task] / sum(part) for part in parts) for task in range(len(found))]
    np.testing.assert_allclose(STRATEGIES["mix"](found), expected)
