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
