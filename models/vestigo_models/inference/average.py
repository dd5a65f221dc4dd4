"""Packages between a model and one that was trained from it."""

import copy

from vestigo_models.errors import ConfigError
from vestigo_models.inference.package import ModelPackage


def average_packages(base: ModelPackage, trained: ModelPackage, share: float) -> ModelPackage:
    """Return the trained package with the weights (1 - share) * base + share * trained.

    Such an average can work better than both on data that neither learned from, and forgets less than the trained one
    (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).

    Raises:
        ConfigError: The networks differ, or `share` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share {share}: give a number from 0 to 1")
    if base.config.network != trained.config.network:
        raise ConfigError(
            f"{base.name} and {trained.name} are different networks: give a model and one that was trained from it"
        )
    network = copy.deepcopy(trained.network)
    state = network.state_dict()
    for name, before in base.network.state_dict().items():
        if before.is_floating_point():
            state[name].copy_(before.lerp(state[name], share))
    return ModelPackage(trained.config, network)
