from __future__ import annotations

import pytest

from vestigo_models.training.config import TrainConfig
from vestigo_models.training.state import learning_rate


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (1, 3.5e-4 * 0.109),
        (9, 3.5e-4 * 0.901),
        (10, 3.5e-4),
        (39, 3.5e-4),
        (40, 3.5e-5),
        (69, 3.5e-5),
        (70, 3.5e-6),
        (120, 3.5e-6),
    ],
)
def test_learning_rate_follows_documented_schedule(epoch: int, rate: float) -> None:
    assert learning_rate(epoch, TrainConfig()) == pytest.approx(rate)


def test_schedule_scales_with_epochs() -> None:
    short, full = TrainConfig(epochs=12), TrainConfig()
    for epoch in range(1, 13):
        assert learning_rate(epoch, short) == pytest.approx(learning_rate(epoch * 10, full))


def test_no_warm_up() -> None:
    assert learning_rate(1, TrainConfig(warmup_epochs=0)) == pytest.approx(3.5e-4)


def test_one_cycle_rises_and_falls_along_a_cosine() -> None:
    config = TrainConfig(schedule="one_cycle", schedule_epochs=4, warmup_epochs=1, epochs=8, learning_rate=1.0)
    assert learning_rate(1, config) == pytest.approx(1 / 25)
    assert learning_rate(2, config) == pytest.approx((1 + 1 / 25) / 2)
    assert learning_rate(3, config) == pytest.approx(1.0)
    assert learning_rate(6, config) == pytest.approx(0.5)
    assert learning_rate(8, config, fraction=1.0) == pytest.approx(0.0)
    rates = [learning_rate(epoch, config, fraction) for epoch in range(1, 9) for fraction in (0.0, 0.25, 0.5, 0.75)]
    assert rates == sorted(rates[:9]) + sorted(rates[9:], reverse=True)


def test_one_cycle_without_warm_up_starts_at_the_highest_rate() -> None:
    config = TrainConfig(schedule="one_cycle", warmup_epochs=0, learning_rate=1.0)
    assert learning_rate(1, config) == pytest.approx(1.0)
