"""The filter's words agree with the rule computed pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestigo_models.attribute_filter.rule import (
    class_bits,
    confidences,
    conflict_penalty,
    count_conflicts,
    encode_predictions,
    least_kept,
    penalty_of_words,
    predicted_words,
    reliable_words,
    survivors,
)
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID as DUKE
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET


def predictions(schema: AttributeSchema, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    groups = [rng.dirichlet(np.full(len(attribute.values), 0.3), count) for attribute in schema.attributes]
    return np.concatenate(groups, axis=1).astype(np.float32)


def rule(query: np.ndarray, gallery: np.ndarray, schema: AttributeSchema, tau: float, most: int = 0) -> np.ndarray:
    counts = count_conflicts(*(encode_predictions(side, schema, tau) for side in (query, gallery)), schema)

    def penalty(row: int, columns: np.ndarray) -> np.ndarray:
        return conflict_penalty(query[[row]], gallery[columns], schema, tau)[0]

    return survivors(counts, penalty, max_conflicts=most)


def differing(
    schema: AttributeSchema, ours: np.ndarray, theirs: np.ndarray, threshold: float
) -> list[tuple[float, float]]:
    """The rule as it is written: confidences of the attributes that are reliable on both sides and differ."""
    conflicts = []
    start = 0
    for attribute in schema.attributes:
        a = [float(p) for p in ours[start : start + len(attribute.values)]]
        b = [float(p) for p in theirs[start : start + len(attribute.values)]]
        start += len(attribute.values)
        if max(a) >= threshold and max(b) >= threshold and a.index(max(a)) != b.index(max(b)):
            conflicts.append((max(a), max(b)))
    return conflicts


@pytest.mark.parametrize("schema", [MARKET, DUKE])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.95])
def test_words_agree_with_rule(schema: AttributeSchema, threshold: float) -> None:
    query, gallery = predictions(schema, 12, 1), predictions(schema, 40, 2)
    counts = count_conflicts(
        encode_predictions(query, schema, threshold), encode_predictions(gallery, schema, threshold), schema
    )
    penalty = conflict_penalty(query, gallery, schema, threshold)
    for q in range(12):
        for g in range(40):
            expected = differing(schema, query[q], gallery[g], threshold)
            assert counts[q, g] == len(expected)
            assert penalty[q, g] == pytest.approx(sum(a + b for a, b in expected), abs=1e-5)


def test_threshold_above_one_keeps_everything() -> None:
    assert rule(predictions(MARKET, 30, 3), predictions(MARKET, 30, 4), MARKET, 1.01).all()


def test_filter_keeps_query_itself() -> None:
    words = encode_predictions(predictions(MARKET, 300, 5), MARKET, 0.5)
    counts = count_conflicts(words, words, MARKET)
    assert np.diag(survivors(counts)).all()
    assert not np.diag(counts).any()


def test_ties_of_penalties_return_in_gallery_order() -> None:
    query, gallery = predictions(MARKET, 12, 0).round(1), predictions(MARKET, 700, 1).round(1)
    kept = rule(query, gallery, MARKET, 0.3, 1)
    least = least_kept(700)
    counts = count_conflicts(*(encode_predictions(p, MARKET, 0.3) for p in (query, gallery)), MARKET)
    penalty = conflict_penalty(query, gallery, MARKET, 0.3)
    for q in range(12):
        order = sorted(range(700), key=lambda g, q=q: (counts[q, g], penalty[q, g], g))
        free = int((counts[q] <= 1).sum())
        expected = np.flatnonzero(counts[q] <= 1).tolist() if free >= least else sorted(order[:least])
        assert np.flatnonzero(kept[q]).tolist() == expected
    assert ((counts <= 1).sum(axis=1) < least).any()


@pytest.mark.parametrize("count", [10, 60, 400])
def test_least_conflicting_crops_return_if_too_few_are_kept(count: int) -> None:
    query, gallery = predictions(MARKET, 8, 6), predictions(MARKET, count, 7)
    kept = rule(query, gallery, MARKET, 0.4)
    least = min(count, max(50, -(-count // 100)))
    assert least_kept(count) == least
    for q in range(8):
        costs = []
        for g in range(count):
            conflicts = differing(MARKET, query[q], gallery[g], 0.4)
            costs.append((len(conflicts), sum(a + b for a, b in conflicts), g))
        free = {g for number, _, g in costs if number == 0}
        expected = free if len(free) >= least else {g for _, _, g in sorted(costs)[:least]}
        assert set(np.flatnonzero(kept[q])) == expected


def test_only_named_attributes_conflict() -> None:
    query, gallery = predictions(MARKET, 5, 8), predictions(MARKET, 20, 9)
    words = [encode_predictions(p, MARKET, 0.5, names=("gender",)) for p in (query, gallery)]
    place = MARKET.slice("gender")
    labels = [np.where(p[:, place].max(1) >= 0.5, p[:, place].argmax(1), -1) for p in (query, gallery)]
    expected = (labels[0][:, None] != labels[1][None, :]) & (labels[0][:, None] >= 0) & (labels[1][None, :] >= 0)
    np.testing.assert_array_equal(count_conflicts(*words, MARKET) > 0, expected)


def test_more_classes_than_bits_raise() -> None:
    values = tuple(str(i) for i in range(65))
    wide = AttributeSchema("wide", (Attribute(name="a", values=values, fields=("a",), title="A"),))
    with pytest.raises(ConfigError, match="65 classes"):
        encode_predictions(np.zeros((1, 65), dtype=np.float32), wide, 0.7)


def test_first_of_equally_probable_classes_is_predicted() -> None:
    even = np.concatenate([np.full((1, len(a.values)), 1 / len(a.values)) for a in MARKET.attributes], axis=1)
    word = int(encode_predictions(even.astype(np.float32), MARKET, 0.1)[0])
    first = sum(1 << offset for offset, a in zip(MARKET.offsets, MARKET.attributes, strict=True) if len(a.values) < 10)
    assert word == first


schemas = st.sampled_from([MARKET, DUKE])


@given(
    schema=schemas,
    threshold=st.floats(0.05, 1.2),
    max_conflicts=st.integers(0, 4),
    queries=st.integers(1, 6),
    count=st.integers(1, 130),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_invariants(
    schema: AttributeSchema, threshold: float, max_conflicts: int, queries: int, count: int, seed: int
) -> None:
    """Enough crops and the query itself are kept, a looser filter keeps more, and survivors keep their order."""
    query, gallery = predictions(schema, queries, seed), predictions(schema, count, seed + 1)
    gallery[0] = query[0]
    kept = rule(query, gallery, schema, threshold, max_conflicts)
    assert (kept.sum(axis=1) >= least_kept(count)).all()
    assert kept[0, 0]
    if threshold > 1:
        assert kept.all()
    within = np.array(
        [[len(differing(schema, q, g, float(np.float32(threshold)))) <= max_conflicts for g in gallery] for q in query]
    )
    assert kept[within].all()
    full = within.sum(axis=1) >= least_kept(count)
    np.testing.assert_array_equal(kept[full], within[full])
    assert rule(query, gallery, schema, threshold, max_conflicts + 1)[kept & within].all()
    distances = np.random.default_rng(seed).random((queries, count))
    order = np.argsort(distances, axis=1, kind="stable")
    filtered = np.argsort(np.where(kept, distances, np.inf), axis=1, kind="stable")
    for row in range(queries):
        assert filtered[row, : kept[row].sum()].tolist() == [g for g in order[row] if kept[row, g]]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.7, 1.01])
@pytest.mark.parametrize("names", [(), ("gender", "hat")])
def test_words_of_all_predictions_replace_probabilities(threshold: float, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(11)
    groups = [rng.dirichlet(np.full(len(attribute.values), 0.4), 300) for attribute in MARKET.attributes]
    crops = np.concatenate(groups, axis=1).astype(np.float32)
    # Equally probable classes: the first is predicted.
    crops[::7, MARKET.slice("gender")] = 0.5
    words, sure = predicted_words(crops, MARKET), confidences(crops, MARKET)
    expected = encode_predictions(crops, MARKET, threshold, names)
    assert (reliable_words(words, sure, MARKET, threshold, names) == expected).all()
    penalties = penalty_of_words(crops[:9], words, sure, MARKET, threshold, names)
    assert (penalties == conflict_penalty(crops[:9], crops, MARKET, threshold, names)).all()


def test_bits_of_conditions_are_those_of_the_predicted_values() -> None:
    rng = np.random.default_rng(12)
    groups = [rng.dirichlet(np.ones(len(attribute.values)), 200) for attribute in MARKET.attributes]
    crops = np.concatenate(groups, axis=1).astype(np.float32)
    bits = class_bits({"gender": "female", "hat": "no"}, MARKET)
    for row, word in zip(crops, predicted_words(crops, MARKET), strict=True):
        values = [MARKET[name].values[int(row[MARKET.slice(name)].argmax())] for name in ("gender", "hat")]
        assert (word & bits == bits) == (values == ["female", "no"])
