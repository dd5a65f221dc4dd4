"""Search by conditions, compared with a product of probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.packs import packed_predictions
from vestigo.retrieval.search import rank_where, where_scores
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET


def predictions(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    groups = [rng.dirichlet(np.full(len(attribute.values), 0.5), count) for attribute in MARKET.attributes]
    return np.concatenate(groups, axis=1).astype(np.float32)


def scores_of(probabilities: np.ndarray, conditions: dict[str, str]) -> np.ndarray:
    ids = [f"{number:020x}" for number in range(len(probabilities))]
    return where_scores(packed_predictions(ids, probabilities, MARKET), conditions, MARKET)


CONDITIONS = MARKET.parse("gender=female,backpack=yes,upper_colour=red")


def test_scores_are_product_of_requested_probabilities() -> None:
    probabilities = predictions(40, 0)
    scores = scores_of(probabilities, CONDITIONS)
    for row in range(40):
        product = 1.0
        for name, value in CONDITIONS.items():
            at = list(MARKET.names).index(name)
            before = sum(len(attribute.values) for attribute in MARKET.attributes[:at])
            product *= float(probabilities[row, before + MARKET.attributes[at].values.index(value)])
        assert math.exp(scores[row]) == pytest.approx(product, rel=1e-6)
    assert not scores_of(probabilities, {}).any()


def test_impossible_is_last_and_keeps_its_order() -> None:
    probabilities = predictions(3, 1)
    backpack = MARKET.slice("backpack")
    probabilities[:, backpack] = [[1, 0], [1, 0], [0.5, 0.5]]
    place = MARKET.slice("gender")
    probabilities[:, place] = [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]]
    scores = scores_of(probabilities, MARKET.parse("gender=female,backpack=yes"))
    assert np.isfinite(scores).all()
    assert np.argsort(-scores).tolist() == [2, 1, 0]


@pytest.mark.parametrize("seed", range(3))
def test_any_batches_give_the_same_ranking(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Few distinct crops, so that scores tie.
    probabilities = predictions(12, seed)[rng.integers(0, 12, 150)]
    ids = [f"{number:020d}" for number in rng.permutation(150)]
    scores = scores_of(probabilities, CONDITIONS)
    expected = sorted(zip((-scores).tolist(), ids, strict=True))[:25]
    for cuts in ([], [1, 60, 61], sorted(rng.choice(150, 20, replace=False).tolist())):
        rows = np.split(rng.permutation(150), cuts)
        packs = [
            packed_predictions([ids[row] for row in part], probabilities[part], MARKET) for part in rows if len(part)
        ]
        ranking = rank_where(packs, CONDITIONS, MARKET, 25)
        assert [(distance, crop) for crop, distance in ranking.neighbours(0)] == expected
        assert ranking.compared == 150


def test_fewer_crops_than_requested() -> None:
    certain = np.zeros((1, MARKET.classes), dtype=np.float32)
    certain[0, [MARKET.slice(name).start + MARKET[name].values.index(value) for name, value in CONDITIONS.items()]] = 1
    ranking = rank_where([packed_predictions(["a" * 20], certain, MARKET)], CONDITIONS, MARKET, 5)
    assert ranking.neighbours(0) == [("a" * 20, 0.0)]
    assert math.copysign(1, ranking.distances[0, 0]) == 1
    assert rank_where([], CONDITIONS, MARKET, 5).neighbours(0) == []


def test_unknown_attributes_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown attribute 'shoes'"):
        scores_of(predictions(2, 2), {"shoes": "dark"})
