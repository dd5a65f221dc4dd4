"""Why tasks are drawn: the attribute that is named raised the score most, beside loops over all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.review_archive import SCHEMA, fill, people
from vestigo.resolve import registered
from vestigo.review.sampling.proposal import Wish, propose
from vestigo.review.sampling.reasons import EXPLAINED, reasons
from vestigo.review.sampling.strategies import BY_ATTRIBUTE, STRATEGIES
from vestigo.store.open import Store


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("explained") / "store"
    fill(place, people(40)[0])
    return place


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_says_why(ref: Path, strategy: str) -> None:
    assert EXPLAINED[strategy].endswith(".")
    with Store.open(ref) as store:
        wish = Wish(strategy=strategy, budget=10, seed=1)
        proposal = propose(store, "p", registered(store, MODEL), wish)
    found = reasons(proposal, wish)
    assert [one.task for one in found] == proposal.tasks
    assert [one.probability for one in found] == proposal.probabilities[list(proposal.picked)].tolist()
    assert all(one.words for one in found)
    if strategy not in BY_ATTRIBUTE:
        assert {one.attribute for one in found} == {None}


@pytest.mark.parametrize("strategy", ["least-confident", "disagreement", "neighbours", "label-errors", "rare"])
def test_attributes_add_up_to_the_score(ref: Path, strategy: str) -> None:
    with Store.open(ref) as store:
        wish = Wish(strategy=strategy, budget=10, seed=1)
        proposal = propose(store, "p", registered(store, MODEL), wish)
    candidates = proposal.pool.candidates
    alone = np.array([STRATEGIES[strategy](candidates.about((name,))) for name in SCHEMA.names])
    assert BY_ATTRIBUTE[strategy](candidates) == pytest.approx(alone)
    assert STRATEGIES[strategy](candidates) == pytest.approx(alone.mean(axis=0))
    for row, one in zip(proposal.picked, reasons(proposal, wish), strict=True):
        raised = SCHEMA.names[int(alone[:, row].argmax())] if alone[:, row].any() else None
        assert one.attribute == raised


def test_what_a_strategy_is_about_is_what_is_named(ref: Path) -> None:
    with Store.open(ref) as store:
        wish = Wish(strategy="entropy", budget=10, about=("hat",))
        found = reasons(propose(store, "p", registered(store, MODEL), wish), wish)
    assert {one.attribute for one in found} == {"hat"}
    assert all(one.words.startswith("Hat in doubt: ") for one in found)
