"""Paired differences compared with loops, and their intervals with simulated people and seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vestigo_benchmarks.ablation.differences import Measure, crossed_interval, paired_difference

MAP = Measure(read=lambda result: result["mAP"], sums=lambda people: people["retrieval"]["mAP"], side="retrieval")


def result(values: list[float], images: list[int]) -> dict[str, Any]:
    pids = list(range(1, len(values) + 1))
    people = {"retrieval": {"pids": pids, "images": images, "mAP": values}, "attributes": None}
    return {"mAP": sum(values) / sum(images), "identities": people}


def interval_by_loops(gains: np.ndarray, images: np.ndarray) -> tuple[float, float]:
    seeds, people = gains.shape
    mean = sum(gains[s, i] for s in range(seeds) for i in range(people)) / (seeds * sum(images))
    each = sum(images) / people
    x = [[(gains[s, i] - mean * images[i]) / each for i in range(people)] for s in range(seeds)]
    of_person = [sum(x[s][i] for s in range(seeds)) / seeds for i in range(people)]
    of_seed = [sum(x[s]) / people for s in range(seeds)]
    v_people = sum(value**2 for value in of_person) / (people - 1) / people
    v_seeds = sum(value**2 for value in of_seed) / (seeds - 1) / seeds
    rest = sum((x[s][i] - of_person[i] - of_seed[s]) ** 2 for s in range(seeds) for i in range(people))
    v_rest = rest / ((people - 1) * (seeds - 1)) / (people * seeds)
    half = math.sqrt(
        stats.t.ppf(0.975, people - 1) ** 2 * v_people + stats.t.ppf(0.975, seeds - 1) ** 2 * max(v_seeds - v_rest, 0)
    )
    return mean - half, mean + half


def test_interval_follows_formula() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(1, 7, 30)
    gains = images * (rng.normal(1, 2, 30) + rng.normal(0, 1, (3, 1)) + rng.normal(0, 3, (3, 30)))
    assert crossed_interval(gains, images.astype(float)) == pytest.approx(interval_by_loops(gains, images))


def test_interval_of_one_seed_is_that_of_people() -> None:
    gains = np.random.default_rng(1).normal(0.5, 2, (1, 40))
    expected = stats.ttest_1samp(gains[0], 0).confidence_interval(0.95)
    assert crossed_interval(gains, np.ones(40)) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("people_sd", "seed_sd"), [(3.0, 0.0), (3.0, 1.0), (0.5, 2.0)])
def test_interval_covers_truth(people_sd: float, seed_sd: float) -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        images = rng.integers(1, 7, 60).astype(float)
        effects = rng.normal(0, people_sd, 60) + rng.normal(0, seed_sd, (3, 1)) + rng.normal(0, 2, (3, 60))
        low, high = crossed_interval(images * (1.0 + effects), images)
        covered += low <= 1.0 <= high
    # The standard error of the share is 1.1 %.
    assert covered / 400 >= 0.92


def test_difference_is_paired_over_common_seeds() -> None:
    images = [2, 1, 3]
    ours = {
        1: result([150.0, 60.0, 90.0], images),
        2: result([160.0, 70.0, 60.0], images),
        3: result([1.0] * 3, images),
    }
    theirs = {1: result([100.0, 50.0, 90.0], images), 2: result([150.0, 20.0, 90.0], images)}
    difference = paired_difference({"a": ours, "b": theirs}, "a", "b", MAP)
    assert difference is not None
    assert (difference["mean"], difference["n"]) == (pytest.approx((60 / 6 + 30 / 6) / 2), 2)
    gains = np.array([[50.0, 10.0, 0.0], [10.0, 50.0, -30.0]])
    assert (difference["low"], difference["high"]) == pytest.approx(interval_by_loops(gains, np.array(images)))
    assert paired_difference({"a": ours}, "a", "b", MAP) is None
    assert paired_difference({"a": ours}, "a", None, MAP) is None


def test_result_without_identities_has_no_interval() -> None:
    new, old = result([50.0, 20.0], [1, 1]), {"mAP": 30.0, "identities": None}
    difference = paired_difference({"a": {1: new}, "b": {1: old}}, "a", "b", MAP)
    assert difference == {"mean": 5.0, "sd": None, "n": 1, "low": None, "high": None}
    other_people = result([50.0, 20.0], [1, 2])
    assert (paired_difference({"a": {1: new}, "b": {1: other_people}}, "a", "b", MAP) or {})["low"] is None


def test_equal_results_have_interval_of_zero() -> None:
    same = {seed: result([50.0, 20.0], [1, 1]) for seed in (1, 2)}
    difference = paired_difference({"a": same, "b": same}, "a", "b", MAP)
    assert difference is not None
    assert (difference["low"], difference["high"]) == (0.0, 0.0)
