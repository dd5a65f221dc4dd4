"""Reasons of sampled tasks: the named attribute has the largest part of the score, against loops over all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.review_archive import SCHEMA, fill, people
from vestigo.resolve import find_registered
from vestigo.review.sampling.sample import SamplingRequest, explain_sample, sample_tasks
from vestigo.review.sampling.strategies import STRATEGIES, find_strategy
from vestigo.store.open import Store


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("explained") / "store"
    fill(place, people(40)[0])
    return place


@pytest.mark.parametrize("strategy", STRATEGIES.usages)
def test_every_strategy_gives_reasons(ref: Path, strategy: str) -> None:
    assert find_strategy(strategy).help.endswith(".")
    with Store.open(ref) as store:
        request = SamplingRequest(strategy=strategy, budget=10, seed=1)
        sample = sample_tasks(store, "p", find_registered(store, MODEL), request)
    reasons = explain_sample(sample, request)
    assert [reason.task for reason in reasons] == sample.tasks
    assert [reason.probability for reason in reasons] == sample.probabilities[list(sample.picked)].tolist()
    assert all(reason.text for reason in reasons)
    if strategy in ("random", "diverse"):
        assert {reason.attribute for reason in reasons} == {None}


@pytest.mark.parametrize("strategy", ["least-confident", "disagreement", "neighbours", "label-errors", "rare"])
def test_score_is_mean_over_attributes(ref: Path, strategy: str) -> None:
    with Store.open(ref) as store:
        request = SamplingRequest(strategy=strategy, budget=10, seed=1)
        sample = sample_tasks(store, "p", find_registered(store, MODEL), request)
    features = sample.candidates.features
    alone = np.array([find_strategy(strategy).score(features.select_attributes((name,))) for name in SCHEMA.names])
    assert find_strategy(strategy).factory(features) == pytest.approx(alone)
    assert find_strategy(strategy).score(features) == pytest.approx(alone.mean(axis=0))
    for row, reason in zip(sample.picked, explain_sample(sample, request), strict=True):
        raised = SCHEMA.names[int(alone[:, row].argmax())] if alone[:, row].any() else None
        assert reason.attribute == raised


def test_reason_names_a_requested_attribute(ref: Path) -> None:
    with Store.open(ref) as store:
        request = SamplingRequest(strategy="entropy", budget=10, about=("hat",))
        reasons = explain_sample(sample_tasks(store, "p", find_registered(store, MODEL), request), request)
    assert {reason.attribute for reason in reasons} == {"hat"}
    assert all(reason.text.startswith("Hat uncertain: ") for reason in reasons)
