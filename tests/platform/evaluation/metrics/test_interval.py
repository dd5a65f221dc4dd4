from __future__ import annotations

import numpy as np
import pytest

from vestigo.evaluation.metrics.interval import mean_interval


def test_one_item_an_identity_gives_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).random(40)
    half = 1.96 * values.std(ddof=1) / np.sqrt(40)
    expected = values.mean() - half, values.mean() + half
    assert mean_interval(values, np.arange(40)) == pytest.approx(expected, abs=1e-5)
    # Copies of an item tell nothing new.
    assert mean_interval(np.repeat(values, 7), np.repeat(np.arange(40), 7)) == pytest.approx(expected, abs=1e-5)


def test_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        counts = rng.integers(1, 9, 60)
        people = rng.beta(4, 2, 60)
        values = np.clip(np.repeat(people, counts) + 0.1 * rng.normal(size=counts.sum()), -9, 9)
        low, high = mean_interval(values, np.repeat(np.arange(60), counts)) or (0, 0)
        held += low <= 4 / 6 <= high
    assert 0.91 <= held / 400 <= 0.98


def test_interval_stays_between_nothing_and_all() -> None:
    low, high = mean_interval(np.array([0.0, 0, 0, 1]), np.arange(4)) or (-1, 2)
    assert low == 0
    assert high <= 1
    assert mean_interval(np.array([0.2, 0.4]), np.array([7, 7])) is None
    assert mean_interval(np.empty(0), np.empty(0, np.int64)) is None
