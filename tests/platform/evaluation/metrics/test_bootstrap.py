"""The paired bootstrap over identities against a loop, and the coverage of its intervals."""

from __future__ import annotations

import numpy as np
import pytest

from vestigo.evaluation.metrics.bootstrap import compare_accuracies, compare_map, compare_means
from vestigo.evaluation.metrics.ranking import ImageSet, score_queries
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

SMALL = AttributeSchema.from_dict(
    {
        "name": "small",
        "attributes": [{"name": "hat", "values": ["no", "yes"]}, {"name": "bag", "values": ["no", "yes"]}],
    }
)


def drawn(identities: int, seed: int, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identities of 1 to 6 items, whose gains share most of their variance."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(identities), rng.integers(1, 7, identities))
    first = rng.random(len(pids))
    return first, first + gain + rng.normal(0, 0.1, identities)[pids] + rng.normal(0, 0.05, len(pids)), pids


def test_interval_equals_loop_over_resampled_identities() -> None:
    first, second, pids = drawn(60, 0, 0.02)
    difference = compare_means(first, second, pids, resamples=4000)
    rng = np.random.default_rng(99)
    items = {pid: np.flatnonzero(pids == pid).tolist() for pid in set(pids.tolist())}
    drawn_means = []
    for _ in range(4000):
        rows = [row for pid in rng.choice(sorted(items), 60).tolist() for row in items[pid]]
        drawn_means.append(100 * (sum(second[rows]) - sum(first[rows])) / len(rows))
    low, high = np.percentile(drawn_means, [2.5, 97.5])
    # Two sets of draws: the ends of a 95 % interval differ by some hundredths of its width.
    assert difference.low == pytest.approx(low, abs=0.06 * (high - low))
    assert difference.high == pytest.approx(high, abs=0.06 * (high - low))
    assert difference.difference == pytest.approx(100 * (second - first).mean())
    share = min(np.mean(np.array(drawn_means) <= 0), np.mean(np.array(drawn_means) >= 0))
    assert difference.chance == pytest.approx(2 * share, abs=0.03)
    assert difference.identities == 60


def test_intervals_cover_truth_at_95_percent() -> None:
    held, surprising = 0, 0
    for seed in range(200):
        difference = compare_means(*drawn(40, seed, 0.0), resamples=400)
        held += difference.low <= 0 <= difference.high
        surprising += difference.chance < 0.05
    # Percentile intervals of 40 identities run a little narrow; 0.95 of 200 has a standard error of 3.
    assert 178 <= held <= 199
    assert surprising <= 22


def test_resampling_images_makes_intervals_too_narrow() -> None:
    first, second, pids = drawn(60, 1, 0.0)
    by_identity = compare_means(first, second, pids)
    by_item = compare_means(first, second, np.arange(len(pids)))
    assert by_identity.high - by_identity.low > 1.3 * (by_item.high - by_item.low)


def test_comparison_is_deterministic_and_antisymmetric() -> None:
    first, second, pids = drawn(50, 2, 0.05)
    difference = compare_means(first, second, pids, seed=7)
    assert difference == compare_means(first, second, pids, seed=7)
    turned = compare_means(second, first, pids, seed=7)
    assert (turned.low, turned.high) == pytest.approx((-difference.high, -difference.low))
    assert difference.low > 0
    assert difference.chance < 0.05


def test_equal_models_have_no_difference() -> None:
    first, _, pids = drawn(20, 3, 0.0)
    difference = compare_means(first, first, pids)
    assert (difference.difference, difference.low, difference.high, difference.chance) == (0.0, 0.0, 0.0, 1.0)


def test_map_comparison_ignores_unscored_queries() -> None:
    rng = np.random.default_rng(4)
    query = ImageSet(pids=rng.integers(0, 12, 60), camids=rng.integers(0, 2, 60))
    gallery = ImageSet(pids=rng.integers(0, 12, 200), camids=rng.integers(0, 2, 200))
    noise = rng.random((60, 200))
    near = noise - 0.3 * (query.pids[:, None] == gallery.pids)
    worse, better = (score_queries(distances, query, gallery) for distances in (noise, near))
    difference = compare_map(worse, better, query.pids)
    assert difference.difference == pytest.approx(better.summary().mAP - worse.summary().mAP)
    assert difference.identities == len(np.unique(query.pids[query.pids > 0]))
    assert difference.low > 0


def test_accuracies_are_compared_by_attribute() -> None:
    rng = np.random.default_rng(5)
    pids = np.repeat(np.arange(30), 4)
    first, second = rng.random((120, 2)) < 0.6, rng.random((120, 2)) < 0.9
    differences = compare_accuracies(first, second, pids, SMALL)
    for position, name in enumerate(SMALL.names):
        by_hand = 100 * sum(int(second[r, position]) - int(first[r, position]) for r in range(120)) / 120
        assert differences[name].difference == pytest.approx(by_hand)
    assert compare_accuracies(first[:4], second[:4], pids[:4], SMALL) == dict.fromkeys(SMALL.names)


def test_one_identity_is_rejected() -> None:
    with pytest.raises(UsageError, match="at least 2 identities, not on 1"):
        compare_means(np.zeros(3), np.ones(3), np.zeros(3, dtype=np.int64))
