"""The filter's words beside the rule that they stand for (specification, section 15, 4)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vestigo_models.attribute_filter.rule import conflict_penalty, conflicts, encode, least_kept, survivors
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID as DUKE
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET


def predictions(schema: AttributeSchema, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    groups = [rng.dirichlet(np.full(len(attribute.values), 0.3), count) for attribute in schema.attributes]
    return np.concatenate(groups, axis=1).astype(np.float32)


def differing(
    schema: AttributeSchema, ours: np.ndarray, theirs: np.ndarray, threshold: float
) -> list[tuple[float, float]]:
    """The rule as it is written: confidences of the attributes that are reliable on both sides and differ."""
    found = []
    start = 0
    for attribute in schema.attributes:
        a = [float(p) for p in ours[start : start + len(attribute.values)]]
        b = [float(p) for p in theirs[start : start + len(attribute.values)]]
        start += len(attribute.values)
        if max(a) >= threshold and max(b) >= threshold and a.index(max(a)) != b.index(max(b)):
            found.append((max(a), max(b)))
    return found


@pytest.mark.parametrize("schema", [MARKET, DUKE])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.95])
def test_words_say_what_the_rule_says(schema: AttributeSchema, threshold: float) -> None:
    query, gallery = predictions(schema, 12, 1), predictions(schema, 40, 2)
    counts = conflicts(encode(query, schema, threshold), encode(gallery, schema, threshold), schema)
    penalty = conflict_penalty(query, gallery, schema, threshold)
    for q in range(12):
        for g in range(40):
            expected = differing(schema, query[q], gallery[g], threshold)
            assert counts[q, g] == len(expected)
            assert penalty[q, g] == pytest.approx(sum(a + b for a, b in expected), abs=1e-5)


def test_above_one_everything_stays() -> None:
    query, gallery = (encode(predictions(MARKET, 30, seed), MARKET, 1.01) for seed in (3, 4))
    assert survivors(query, gallery, MARKET).all()


def test_oneself_is_never_discarded() -> None:
    words = encode(predictions(MARKET, 300, 5), MARKET, 0.5)
    assert np.diag(survivors(words, words, MARKET)).all()
    assert not np.diag(conflicts(words, words, MARKET)).any()


@pytest.mark.parametrize("count", [10, 60, 400])
def test_enough_always_stay_and_the_least_conflicting_come_back(count: int) -> None:
    query, gallery = predictions(MARKET, 8, 6), predictions(MARKET, count, 7)
    words = encode(query, MARKET, 0.4), encode(gallery, MARKET, 0.4)
    kept = survivors(*words, MARKET, conflict_penalty(query, gallery, MARKET, 0.4))
    least = min(count, max(50, -(-count // 100)))
    assert least_kept(count) == least
    for q in range(8):
        costs = []
        for g in range(count):
            found = differing(MARKET, query[q], gallery[g], 0.4)
            costs.append((len(found), sum(a + b for a, b in found), g))
        free = {g for number, _, g in costs if number == 0}
        expected = free if len(free) >= least else {g for _, _, g in sorted(costs)[:least]}
        assert set(np.flatnonzero(kept[q])) == expected


def test_only_named_attributes_count() -> None:
    query, gallery = predictions(MARKET, 5, 8), predictions(MARKET, 20, 9)
    words = [encode(p, MARKET, 0.5, names=("gender",)) for p in (query, gallery)]
    place = MARKET.slice("gender")
    says = [np.where(p[:, place].max(1) >= 0.5, p[:, place].argmax(1), -1) for p in (query, gallery)]
    expected = (says[0][:, None] != says[1][None, :]) & (says[0][:, None] >= 0) & (says[1][None, :] >= 0)
    np.testing.assert_array_equal(conflicts(*words, MARKET) > 0, expected)


def test_more_classes_than_bits_are_refused() -> None:
    values = tuple(str(i) for i in range(65))
    wide = AttributeSchema("wide", (Attribute(name="a", values=values, fields=("a",), title="A"),))
    with pytest.raises(ConfigError, match="65 classes"):
        encode(np.zeros((1, 65), dtype=np.float32), wide, 0.7)


def test_of_equally_likely_classes_the_first_is_said() -> None:
    even = np.concatenate([np.full((1, len(a.values)), 1 / len(a.values)) for a in MARKET.attributes], axis=1)
    word = int(encode(even.astype(np.float32), MARKET, 0.1)[0])
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
    """Specification 15.4: enough stay, oneself stays, a looser filter keeps more, survivors keep their order."""
    query, gallery = predictions(schema, queries, seed), predictions(schema, count, seed + 1)
    gallery[0] = query[0]
    words = encode(query, schema, threshold), encode(gallery, schema, threshold)
    penalty = conflict_penalty(query, gallery, schema, threshold)
    kept = survivors(*words, schema, penalty, max_conflicts=max_conflicts)
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
    assert survivors(*words, schema, penalty, max_conflicts=max_conflicts + 1)[kept & within].all()
    distances = np.random.default_rng(seed).random((queries, count))
    order = np.argsort(distances, axis=1, kind="stable")
    filtered = np.argsort(np.where(kept, distances, np.inf), axis=1, kind="stable")
    for row in range(queries):
        assert filtered[row, : kept[row].sum()].tolist() == [g for g in order[row] if kept[row, g]]
