"""The attribute filter over an archive in batches, compared with the rule as it is written for the whole archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from tests.support import fake_gallery
from tests.support.packs import packed_predictions
from vestigo.retrieval import filter as filtering
from vestigo.retrieval.filter import FilteredScan, GalleryFilter, SoftFilter
from vestigo.retrieval.gallery import Gallery, Scope
from vestigo.vectors.index import Selection
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET


def predictions(rng: np.random.Generator, count: int, sharpness: float) -> np.ndarray:
    groups = [rng.dirichlet(np.full(len(attribute.values), sharpness), count) for attribute in MARKET.attributes]
    return np.concatenate(groups, axis=1).astype(np.float32)


class People:
    """An archive of crops, many of which look the same, under ids in no order, and some queries."""

    def __init__(self, seed: int, count: int, queries: int = 4, sharpness: float = 0.3) -> None:
        rng = np.random.default_rng(seed)
        self.ids = [f"{number:020x}" for number in rng.permutation(count)]
        self.crops = predictions(rng, max(1, count // 3), sharpness)[rng.integers(0, max(1, count // 3), count)]
        self.queries = predictions(rng, queries, sharpness)

    def batches(self, cuts: list[int]) -> Callable[[], Iterator[Selection]]:
        bounds = [0, *sorted(cuts), len(self.ids)]
        return lambda: (
            packed_predictions(self.ids[a:b], self.crops[a:b], MARKET) for a, b in pairwise(bounds) if a < b
        )


def naive(people: People, threshold: float, names: tuple[str, ...], most: int) -> list[set[str]]:
    """Which ids stay for each query: a loop over crops and attributes, and a sort of them all."""
    least = min(len(people.ids), max(50, int(np.ceil(0.01 * len(people.ids)))))
    predicted = [[_predicted(row) for row in rows] for rows in (people.queries, people.crops)]
    answer = []
    for ours in predicted[0]:
        order = []
        for name, theirs in zip(people.ids, predicted[1], strict=True):
            count, penalty = 0, np.float32(0)
            for attribute, (a, p), (b, q) in zip(MARKET.names, ours, theirs, strict=True):
                if attribute in (names or MARKET.names) and min(p, q) >= np.float32(threshold) and a != b:
                    count, penalty = count + 1, np.float32(penalty + np.float32(p + q))
            order.append((count, penalty, name))
        stays = {name for count, _, name in order if count <= most}
        answer.append(stays if len(stays) >= least else {name for _, _, name in sorted(order)[:least]})
    return answer


def _predicted(row: np.ndarray) -> list[tuple[int, np.float32]]:
    predicted, start = [], 0
    for attribute in MARKET.attributes:
        group = row[start : start + len(attribute.values)]
        predicted.append((int(np.argmax(group)), np.float32(max(group))))
        start += len(attribute.values)
    return predicted


def stays(decided: GalleryFilter, people: People, cuts: list[int]) -> list[set[str]]:
    kept: list[set[str]] = [set() for _ in people.queries]
    for crops in people.batches(cuts)():
        for row, keeps in enumerate(decided.keeps(crops, slice(0, len(people.queries)))):
            kept[row] |= {name.decode() for name in crops.ids[keeps]}
    return kept


def choice(threshold: float, names: tuple[str, ...] = (), most: int = 0) -> FilterChoice:
    return FilterChoice(mode="fixed", threshold=threshold, names=names, max_conflicts=most)


@pytest.mark.parametrize(
    ("count", "sharpness", "threshold", "names", "most"),
    [
        (30, 0.3, 0.7, (), 0),
        (300, 0.3, 0.7, (), 0),
        (300, 0.05, 0.6, (), 1),
        (300, 3.0, 0.9, (), 0),
        (300, 0.3, 0.7, ("gender", "hat"), 0),
        (6000, 0.05, 0.5, (), 0),
        (400, 0.3, 1.01, (), 0),
    ],
)
def test_kept_crops_equal_rule(
    count: int, sharpness: float, threshold: float, names: tuple[str, ...], most: int
) -> None:
    people = People(7, count, sharpness=sharpness)
    expected = naive(people, threshold, names, most)
    for cuts in ([], [1, 2, 17, count // 2], [count // 3] * 2):
        decided = GalleryFilter.of(choice(threshold, names, most), MARKET, people.queries, people.batches(cuts))
        assert stays(decided, people, [count // 2, 3]) == expected
        assert decided.kept.tolist() == [len(ids) for ids in expected]
        assert decided.compared == count
        assert decided.kept_fraction == pytest.approx(sum(map(len, expected)) / 4 / count)


def test_returning_crops_are_searched_in_query_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    people = People(3, 500, queries=9, sharpness=0.05)
    whole = GalleryFilter.of(choice(0.5), MARKET, people.queries, people.batches([100]))
    monkeypatch.setattr(filtering, "RESTORED_AT_ONCE", 100)
    parts = GalleryFilter.of(choice(0.5), MARKET, people.queries, people.batches([250]))
    assert (whole.penalties > -np.inf).sum() > 2
    assert stays(parts, people, []) == stays(whole, people, []) == naive(people, 0.5, (), 0)


def test_a_query_keeps_itself() -> None:
    people = People(5, 800, sharpness=0.1)
    people.queries = people.crops[:20]
    decided = GalleryFilter.of(choice(0.5), MARKET, people.queries, people.batches([99]))
    assert all(own in kept for own, kept in zip(people.ids, stays(decided, people, []), strict=False))


def test_an_empty_archive() -> None:
    people = People(5, 0)
    decided = GalleryFilter.of(choice(0.7), MARKET, people.queries, people.batches([]))
    assert (decided.compared, decided.kept.tolist(), decided.kept_fraction) == (0, [0] * 4, 1.0)


def test_soft_adds_penalty_of_conflicts() -> None:
    people = People(2, 60)
    soft = FilterChoice(mode="soft", threshold=0.6, weight=0.25)
    soft_filter = SoftFilter(choice=soft, schema=MARKET, probabilities=people.queries)
    (crops,) = people.batches([])()
    added = soft_filter.added_distances(crops, slice(1, 3))
    for row, query in enumerate(people.queries[1:3]):
        for column, crop in enumerate(people.crops):
            conflicts = [
                p + q
                for (a, p), (b, q) in zip(_predicted(query), _predicted(crop), strict=True)
                if min(p, q) >= np.float32(0.6) and a != b
            ]
            assert added[row, column] == pytest.approx(0.25 * sum(conflicts), abs=1e-6)


def test_off_scans_without_filter() -> None:
    store = fake_gallery.people()
    model = store.models.list()[0]
    scan = FilteredScan.of(Gallery.of(store, model), fake_gallery.view_of(store.rows[0]), Scope())
    assert scan.filter is None
    assert scan.kept_fraction == 1.0
