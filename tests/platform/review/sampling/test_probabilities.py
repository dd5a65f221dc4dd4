"""Inclusion probabilities, systematic samples and estimates, against fine grids, all samples and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from vestigo.review.estimates.shares import estimate_share, reviews_needed
from vestigo.review.sampling.probabilities import combine_rounds, inclusion_probabilities, systematic_sample

pytestmark = pytest.mark.slow


class Comb:
    """Stands in for a generator: the order as it is, one chosen start."""

    def __init__(self, start: float) -> None:
        self.start = start

    def permutation(self, count: int) -> np.ndarray:
        return np.arange(count)

    def random(self) -> float:
        return self.start


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_probabilities_follow_scores_and_chance(chance: float) -> None:
    scores = np.array([4.0, 1.0, 0.0, 3.0, 2.0])
    probabilities = inclusion_probabilities(scores, 2, chance=chance)
    expected = [2 * (chance / 5 + (1 - chance) * s / 10) for s in scores]
    np.testing.assert_allclose(probabilities, expected)


@pytest.mark.parametrize("budget", [0, 1, 5, 9, 10])
def test_probability_is_at_most_one(budget: int) -> None:
    scores = np.array([1000.0, 300.0, *range(1, 9)])
    probabilities = inclusion_probabilities(scores, budget, chance=0.2)
    assert probabilities.sum() == pytest.approx(budget)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    assert (np.diff(probabilities[np.argsort(scores)]) >= -1e-12).all()
    if budget == 5:
        assert probabilities[0] == probabilities[1] == 1
        assert 0 < probabilities[2] < 1


def test_zero_scores_give_equal_probabilities() -> None:
    np.testing.assert_allclose(inclusion_probabilities(np.zeros(8), 2), np.full(8, 0.25))
    # Tasks without a score can still be needed.
    np.testing.assert_allclose(inclusion_probabilities(np.array([1.0, 0, 0]), 2, chance=0), [1, 0.5, 0.5])


def probabilities_by_bisection(scores: list[float], budget: int, drawn: list[bool], chance: float) -> list[float]:
    left = [i for i in range(len(scores)) if not drawn[i]]
    total = sum(scores[i] for i in left)
    sizes = [chance / len(left) + (1 - chance) * (s / total if total else 1 / len(left)) for s in scores]
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        if sum(min(1.0, middle * sizes[i]) for i in left) < budget:
            low = middle
        else:
            high = middle
    return [min(1.0, high * size) for size in sizes]


@pytest.mark.parametrize("seed", range(20))
def test_earlier_samples_do_not_use_the_budget(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(5, 40))
    scores = rng.random(count) ** int(rng.integers(1, 8))
    drawn = rng.random(count) < 0.4
    budget = int(rng.integers(0, (~drawn).sum()))
    probabilities = inclusion_probabilities(scores, budget, sampled=drawn, chance=0.25)
    expected = probabilities_by_bisection(scores.tolist(), budget, drawn.tolist(), 0.25)
    np.testing.assert_allclose(probabilities, expected, atol=1e-7)
    assert probabilities[~drawn].sum() == pytest.approx(budget)
    taken = systematic_sample(probabilities, rng, sampled=drawn)
    assert len(set(taken.tolist())) == budget
    assert not drawn[taken].any()


def test_budget_of_all_available_tasks() -> None:
    drawn = np.array([True, False, False, True])
    np.testing.assert_array_equal(inclusion_probabilities(np.arange(4.0), 2, sampled=drawn), np.ones(4))
    np.testing.assert_array_equal(inclusion_probabilities(np.arange(4.0), 0, sampled=np.ones(4, bool)), np.zeros(4))
    with pytest.raises(ValueError, match="budget=3: there are 2 tasks"):
        inclusion_probabilities(np.arange(4.0), 3, sampled=drawn)
    # Without a share for chance, what has no score is drawn only where nothing else is left.
    probabilities = inclusion_probabilities(np.array([5.0, 0, 1, 0]), 2, sampled=drawn, chance=0)
    np.testing.assert_array_equal(probabilities, np.ones(4))


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_combined_probabilities_equal_annotation_frequencies(share: float) -> None:
    rng = np.random.default_rng(0)
    count, budget, rounds = 240, 40, 20_000
    first_scores, later_scores, values = rng.random(count) ** 2, rng.random(count) ** 2, rng.random(count)
    first = inclusion_probabilities(first_scores, budget)
    times, combined, total = np.zeros(count), np.zeros(count), 0.0
    for _ in range(rounds):
        taken = systematic_sample(first, rng)
        drawn = np.isin(np.arange(count), taken)
        # What the first draw found decides what the second looks for.
        scores = first_scores if values[taken].mean() > values.mean() else later_scores
        second = inclusion_probabilities(scores, budget, sampled=drawn)
        later = systematic_sample(second, rng, sampled=drawn)
        seen = np.concatenate([rng.permutation(taken)[: round(budget * share)], later])
        probability = combine_rounds(np.stack([first, second]), np.array([share, 1.0]))
        times[seen] += 1 / rounds
        combined += probability / rounds
        total += (values[seen] / probability[seen]).sum() / rounds
    np.testing.assert_allclose(times, combined, atol=0.015)
    assert total == pytest.approx(values.sum(), rel=0.003)


def test_combined_probability_is_one_minus_product() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.random((3, 5))
    expected = [1 - math.prod(1 - p for p in column) for column in probabilities.T.tolist()]
    np.testing.assert_allclose(combine_rounds(probabilities), expected)
    np.testing.assert_allclose(combine_rounds(probabilities[:1]), probabilities[0])
    assert combine_rounds(np.zeros((0, 4))).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("wrong", [{"budget": 4}, {"chance": 1.5}, {"scores": np.array([1.0, -1, 2])}])
def test_invalid_arguments_are_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"tasks|outside 0..1|at least 0"):
        inclusion_probabilities(**{"scores": np.ones(3), "budget": 1, "chance": 0.1} | wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_systematic_sample_has_the_inclusion_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = inclusion_probabilities(rng.random(12) ** 3, 5)
    combs = [systematic_sample(probabilities, Comb(start)) for start in (np.arange(20_000) + 0.5) / 20_000]  # type: ignore[arg-type]
    assert {len(set(comb.tolist())) for comb in combs} == {5}
    times = np.bincount(np.concatenate(combs), minlength=12) / len(combs)
    np.testing.assert_allclose(times, probabilities, atol=1e-3)


def test_sample_is_determined_by_the_generator() -> None:
    probabilities = np.full(1000, 0.05)
    first, again = (systematic_sample(probabilities, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, systematic_sample(probabilities, np.random.default_rng(4)))
    assert len(systematic_sample(np.zeros(0), np.random.default_rng(0))) == 0


def test_estimate_is_unbiased_over_all_simple_samples() -> None:
    right, crops = np.array([3.0, 0, 2, 1, 4, 0]), np.full(6, 4.0)
    values = []
    for chosen in itertools.combinations(range(6), 3):
        estimate = estimate_share(right[list(chosen)], crops[list(chosen)], np.full(3, 0.5))
        assert estimate is not None
        assert estimate.low <= estimate.value <= estimate.high
        values.append(estimate.value)
    assert np.mean(values) == pytest.approx(10 / 24)


def test_estimate_is_exact_if_everything_is_annotated() -> None:
    estimate = estimate_share(np.array([1.0, 0, 1, 1]), np.ones(4), np.ones(4))
    assert estimate is not None
    assert (estimate.low, estimate.value, estimate.high) == (0.75, 0.75, 0.75)
    assert estimate_share(np.zeros(2), np.zeros(2), np.ones(2)) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimate_share(np.ones(1), np.ones(1), np.zeros(1))


def test_interval_covers_the_truth_unlike_the_unweighted_share() -> None:
    rng = np.random.default_rng(0)
    doubt = rng.beta(1, 4, 4000)
    correct = (rng.random(4000) > 0.8 * doubt).astype(np.float64)
    crops = rng.integers(1, 9, 4000).astype(np.float64)
    truth = float((correct * crops).sum() / crops.sum())
    probabilities = inclusion_probabilities(doubt, 200)
    held = naive = 0
    for _ in range(400):
        chosen = systematic_sample(probabilities, rng)
        estimate = estimate_share(correct[chosen] * crops[chosen], crops[chosen], probabilities[chosen])
        plain = estimate_share(correct[chosen] * crops[chosen], crops[chosen], np.full(200, 0.05))
        assert estimate is not None
        assert plain is not None
        held += estimate.low <= truth <= estimate.high
        naive += plain.low <= truth <= plain.high
    assert held / 400 > 0.93
    assert naive / 400 < 0.7


def test_reviews_needed_reach_the_interval_width() -> None:
    rng = np.random.default_rng(1)
    answers = (rng.random(100) < 0.8).astype(np.float64)
    estimate = estimate_share(answers, np.ones(100), np.full(100, 0.001))
    assert estimate is not None
    more = reviews_needed(estimate)
    assert 400 < more < 900  # 1.96^2 * 0.8 * 0.2 / 0.03^2 = 683, less the 100 there are
    many = (rng.random(100 + more) < 0.8).astype(np.float64)
    later = estimate_share(many, np.ones(len(many)), np.full(len(many), 0.001))
    assert later is not None
    assert (later.high - later.low) / 2 == pytest.approx(0.03, abs=0.004)
    sure = estimate_share(np.ones(5000), np.ones(5000), np.full(5000, 0.01))
    assert sure is not None
    assert reviews_needed(sure) == 0
