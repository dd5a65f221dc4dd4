"""The learning rate of an epoch (specification, section 10)."""

from __future__ import annotations

from vestigo_models.training.config import TrainConfig


def learning_rate(epoch: int, config: TrainConfig) -> float:
    """Learning rate of the 1-based `epoch`: linear warm-up from about a hundredth, then a step at each milestone.

    Warm-up and milestones are stated for a training of `schedule_epochs`; a shorter or longer one stretches them.
    """
    t = epoch * config.schedule_epochs / config.epochs
    if t < config.warmup_epochs:
        return config.learning_rate * (0.01 + 0.99 * t / config.warmup_epochs)
    passed = sum(t >= milestone for milestone in config.milestones)
    return config.learning_rate * config.decay**passed
