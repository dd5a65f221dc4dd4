"""Matching behind the filter beside the rule and the whole distance matrix."""

from __future__ import annotations

import numpy as np
import pytest

from vestigo_models.attribute_filter import matching as filter_matching
from vestigo_models.attribute_filter.matching import FilteredGallery, GalleryWords, Matches
from vestigo_models.attribute_filter.rule import conflict_penalty, encode, survivors
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID as DUKE
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET

WIDTH = 9


def predictions(schema: AttributeSchema, count: int, seed: int) -> np.ndarray:
    """Few distinct values, so that words, confidences and penalties tie."""
    rng = np.random.default_rng(seed)
    groups = [rng.dirichlet(np.full(len(attribute.values), 0.3), count) for attribute in schema.attributes]
    return np.concatenate(groups, axis=1).round(1).astype(np.float32)


def descriptors(count: int, seed: int, parts: int = 5) -> Descriptors:
    rng = np.random.default_rng(seed)
    visible = rng.random((count, parts)) < 0.6
    vectors = rng.normal(size=(count, 3 + parts, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    vectors[:, 3:] *= visible[..., None]
    return Descriptors(vectors=vectors.reshape(count, -1), visible=visible, always=3)


def rule(query: np.ndarray, gallery: np.ndarray, schema: AttributeSchema, tau: float, max_conflicts: int) -> np.ndarray:
    return survivors(
        encode(query, schema, tau),
        encode(gallery, schema, tau),
        schema,
        conflict_penalty(query, gallery, schema, tau),
        max_conflicts=max_conflicts,
    )


@pytest.mark.parametrize("max_conflicts", [0, 1, 3])
@pytest.mark.parametrize("tau", [0.3, 0.6, 0.9, 1.01])
@pytest.mark.parametrize(("schema", "count"), [(MARKET, 1), (MARKET, 30), (DUKE, 400), (MARKET, 7000)])
def test_exactly_what_the_rule_keeps_stays(schema: AttributeSchema, count: int, tau: float, max_conflicts: int) -> None:
    query, gallery = predictions(schema, 12, 0), predictions(schema, count, 1)
    words = GalleryWords.of(gallery, schema, tau, max_conflicts=max_conflicts)
    kept = rule(query, gallery, schema, tau, max_conflicts)
    for row, stay in enumerate(words.stay(query)):
        assert words.rows(stay).tolist() == np.flatnonzero(kept[row]).tolist()


def test_only_named_attributes_decide() -> None:
    query, gallery = predictions(MARKET, 6, 2), predictions(MARKET, 300, 3)
    names = ("upper_colour", "gender", "hat")
    words = GalleryWords.of(gallery, MARKET, 0.5, names)
    penalty = conflict_penalty(query, gallery, MARKET, 0.5, names)
    kept = survivors(encode(query, MARKET, 0.5, names), encode(gallery, MARKET, 0.5, names), MARKET, penalty)
    for row, stay in enumerate(words.stay(query)):
        assert words.rows(stay).tolist() == np.flatnonzero(kept[row]).tolist()


def expected(query: Descriptors, gallery: Descriptors, kept: np.ndarray, k: int) -> list[list[tuple[float, int]]]:
    """The nearest k that stay by equation 14, a loop over pairs in float64."""
    found = []
    for q in range(len(query)):
        pairs = []
        for g in np.flatnonzero(kept[q]).tolist():
            shared = query.always + int((query.visible[q] & gallery.visible[g]).sum())
            product = float(query.vectors[q].astype(float) @ gallery.vectors[g].astype(float))
            pairs.append((1 - product / shared, g))
        found.append(sorted(pairs)[:k])
    return found


@pytest.mark.parametrize("queries", [1, 7, 8, 40])
@pytest.mark.parametrize(("count", "tau"), [(20, 0.6), (300, 0.4), (1500, 0.8), (1500, 1.01)])
def test_nearest_of_what_stays(count: int, tau: float, queries: int) -> None:
    query, gallery = descriptors(queries, 4), descriptors(count, 5)
    asked, held = predictions(MARKET, queries, 6), predictions(MARKET, count, 7)
    found = FilteredGallery.of(gallery, held, MARKET, tau).match(query, asked, 30)
    kept = rule(asked, held, MARKET, tau, 0)
    assert found.kept.tolist() == kept.sum(axis=1).tolist()
    for q, pairs in enumerate(expected(query, gallery, kept, 30)):
        assert found.rows[q].tolist() == [g for _, g in pairs] + [-1] * (30 - len(pairs))
        assert found.distances[q, : len(pairs)].tolist() == pytest.approx([d for d, _ in pairs], abs=1e-5)
        assert np.isinf(found.distances[q, len(pairs) :]).all()


def same(left: Matches, right: Matches) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in ("rows", "distances", "kept"))


def test_neither_company_nor_the_size_of_tiles_changes_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery = descriptors(30, 8), descriptors(900, 9)
    asked, held = predictions(MARKET, 30, 10), predictions(MARKET, 900, 11)
    grouped = FilteredGallery.of(gallery, held, MARKET, 0.7)
    whole = grouped.match(query, asked, 20)
    alone = [grouped.match(query[slice(q, q + 1)], asked[q : q + 1], 20) for q in range(30)]
    joined = Matches(
        rows=np.concatenate([part.rows for part in alone]),
        distances=np.concatenate([part.distances for part in alone]),
        kept=np.concatenate([part.kept for part in alone]),
    )
    assert same(whole, joined)
    for tile, cells, at_once in ((1, 64, 9), (7, 5000, 30), (5000, 1, 16)):
        monkeypatch.setattr(filter_matching, "TILE", tile)
        monkeypatch.setattr(filter_matching, "CELLS", cells)
        monkeypatch.setattr(filter_matching, "AT_ONCE", at_once)
        assert same(grouped.match(query, asked, 20), whole)


def test_equal_crops_are_ordered_by_row_wherever_the_grouping_puts_them() -> None:
    query, gallery = descriptors(9, 12), descriptors(6, 13)
    which = np.random.default_rng(14).integers(0, 6, 200)
    held = predictions(MARKET, 200, 15)
    grouped = FilteredGallery.of(gallery[which], held, MARKET, 1.01)
    found = grouped.match(query, predictions(MARKET, 9, 16), 200)
    distances = part_visible_distance(query, gallery)
    for q in range(9):
        order = sorted(range(200), key=lambda g, q=q: (distances[q, which[g]], g))
        assert found.rows[q].tolist() == order


@pytest.mark.parametrize("queries", [1, 10])
def test_a_network_without_parts_and_an_empty_gallery(queries: int) -> None:
    query, gallery = descriptors(queries, 17, parts=0), descriptors(120, 18, parts=0)
    asked, held = predictions(MARKET, queries, 19), predictions(MARKET, 120, 20)
    found = FilteredGallery.of(gallery, held, MARKET, 1.01).match(query, asked, 5)
    order = np.argsort(part_visible_distance(query, gallery), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.rows, order)
    nothing = FilteredGallery.of(gallery[slice(0, 0)], held[:0], MARKET, 0.7).match(query, asked, 5)
    assert (nothing.rows == -1).all()
    assert not nothing.kept.any()
