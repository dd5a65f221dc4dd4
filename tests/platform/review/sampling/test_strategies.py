"""Sampling strategies, against loops over tasks and attributes."""

from __future__ import annotations

import math
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest

from vestigo.review.sampling.scores import CLUSTERS, NEIGHBOURS, RANK_DECAY, TaskFeatures, uncertainty
from vestigo.review.sampling.strategies import (
    DEFAULT_STRATEGY,
    STRATEGIES,
    SamplingStrategy,
    find_strategy,
    register_strategy,
)
from vestigo_models.errors import ConfigError
from vestigo_models.registry import Component
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA


def make_features(seed: int, count: int = 40) -> TaskFeatures:
    rng = np.random.default_rng(seed)

    def shares(strength: float) -> np.ndarray:
        parts = [rng.dirichlet(np.full(len(a.values), strength), count) for a in SCHEMA.attributes]
        return np.concatenate(parts, axis=1)

    embeddings = rng.normal(size=(count, 6))
    labels = np.stack([rng.integers(-1, len(a.values), count) for a in SCHEMA.attributes], axis=1)
    return TaskFeatures(
        schema=SCHEMA,
        probabilities=shares(0.5),
        votes=shares(0.2),
        embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
        labels=labels,
    )


def groups(row: np.ndarray) -> list[list[float]]:
    return [row[SCHEMA.slice(name)].tolist() for name in SCHEMA.names]


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_loops(seed: int) -> None:
    task_features = make_features(seed)
    count = len(task_features)
    average = [
        [sum(column) / count for column in zip(*part, strict=True)]
        for part in zip(*map(groups, task_features.probabilities), strict=True)
    ]
    for task in range(count):
        p, votes, labels = (
            groups(task_features.probabilities[task]),
            groups(task_features.votes[task]),
            task_features.labels[task].tolist(),
        )
        expected = {
            "random": 1.0,
            "least-confident": sum(1 - max(part) for part in p) / 12,
            "disagreement": sum(1 - max(part) for part in votes) / 12,
            "label-errors": sum(max(part) - part[y] for part, y in zip(p, labels, strict=True) if y >= 0) / 12,
            "rare": sum(-a * math.log(b) for x, y in zip(p, average, strict=True) for a, b in zip(x, y, strict=True))
            / 12,
        }
        for name, value in expected.items():
            assert find_strategy(name).score(task_features)[task] == pytest.approx(value), name


@pytest.mark.parametrize("seed", range(3))
def test_entropy_decays_by_rank(seed: int) -> None:
    task_features = make_features(seed)

    def doubt(task: int) -> float:
        parts = groups(task_features.probabilities[task])
        return sum(-sum(x * math.log(x) for x in part if x > 0) / math.log(len(part)) for part in parts)

    doubts = [doubt(task) for task in range(len(task_features))]
    scores = find_strategy("entropy").score(task_features)
    for task, mine in enumerate(doubts):
        rank = sum(other > mine for other in doubts)
        assert scores[task] == pytest.approx(math.exp(-rank / (RANK_DECAY * len(task_features))))
    assert DEFAULT_STRATEGY in STRATEGIES.usages


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_mutual(seed: int) -> None:
    task_features = make_features(seed)
    count = len(task_features)

    def nearest(task: int) -> list[int]:
        others = [i for i in range(count) if i != task]
        return sorted(others, key=lambda i: math.dist(task_features.embeddings[task], task_features.embeddings[i]))[
            :NEIGHBOURS
        ]

    scores = find_strategy("neighbours").score(task_features)
    for task in range(count):
        partners = [i for i in nearest(task) if task in nearest(i)]
        apart = 0.0
        if partners:
            theirs = [
                sum(task_features.probabilities[i][m] for i in partners) / len(partners) for m in range(SCHEMA.classes)
            ]
            apart = sum(abs(a - b) for a, b in zip(task_features.probabilities[task], theirs, strict=True)) / 2 / 12
        assert scores[task] == pytest.approx(apart)


def test_diverse_divides_weight_by_cluster_size() -> None:
    alone, crowd = np.eye(8)[:3], np.repeat(np.eye(8)[4:5], 97, axis=0)
    rng = np.random.default_rng(0)
    task_features = make_features(0, 100)
    noise = rng.normal(0, 1e-3, (100, 8))
    embeddings = np.concatenate([alone, crowd]) + noise
    scores = find_strategy("diverse").score(
        TaskFeatures(
            schema=SCHEMA,
            probabilities=task_features.probabilities,
            votes=task_features.votes,
            embeddings=embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True),
            labels=task_features.labels,
        )
    )
    assert scores.min() > 0
    assert scores[:3].mean() > scores[3:].mean()
    assert scores.sum() <= CLUSTERS + 1e-9


@pytest.mark.parametrize("name", STRATEGIES.usages)
def test_strategies_score_single_tasks_and_are_deterministic(name: str) -> None:
    for task_features in (make_features(5), make_features(6, 1)):
        scores = find_strategy(name).score(task_features)
        assert scores.shape == (len(task_features),)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        np.testing.assert_array_equal(scores, find_strategy(name).score(task_features))


def test_mix_gives_each_part_a_third() -> None:
    task_features = make_features(7)
    parts = [find_strategy(name).score(task_features) for name in ("least-confident", "disagreement", "rare")]
    expected = [sum(part[task] / sum(part) for part in parts) for task in range(len(task_features))]
    np.testing.assert_allclose(find_strategy("mix").score(task_features), expected)


def test_registered_strategies_are_listed_and_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STRATEGIES, "_entries", dict(STRATEGIES._entries))
    register_strategy("first-attribute", lambda features: 1 - features.probabilities[:, 0], help="By hat.")
    register_strategy("by-attribute", lambda features: uncertainty(features), help="Like least-confident.")
    features = make_features(3)
    assert STRATEGIES.usages[-2:] == ["first-attribute", "by-attribute"]
    np.testing.assert_allclose(find_strategy("first-attribute").score(features), 1 - features.probabilities[:, 0])
    expected = find_strategy("least-confident").score(features)
    np.testing.assert_array_equal(find_strategy("by-attribute").score(features), expected)
    with pytest.raises(ConfigError, match="'mix' is already registered"):
        register_strategy("mix", uncertainty, help="")
    with pytest.raises(ConfigError, match=r"unknown strategy 'luck': use entropy, .* or by-attribute"):
        find_strategy("luck")


def test_entry_points_register_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("vestigo_plugin")
    module.ours = SamplingStrategy(name="ours", factory=uncertainty, help="By a plug-in.")  # type: ignore[attr-defined]
    module.wrong = Component(name="wrong", factory=uncertainty)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vestigo_plugin", module)
    points = {name: EntryPoint(name, f"vestigo_plugin:{name}", STRATEGIES.group) for name in ("ours", "wrong")}
    monkeypatch.setattr(STRATEGIES, "_installed", points, raising=False)
    monkeypatch.setattr(STRATEGIES, "_entries", dict(STRATEGIES._entries))
    assert STRATEGIES.usages[-2:] == ["ours", "wrong"]
    features = make_features(3)
    np.testing.assert_array_equal(find_strategy("ours").score(features), uncertainty(features).mean(axis=0))
    with pytest.raises(ConfigError, match="'wrong' is not a SamplingStrategy"):
        find_strategy("wrong")
