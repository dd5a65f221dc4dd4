"""Warnings about configurations that train, but hardly what their user means."""

from vestigo_models.networks.backbones.transformers import ConvNext, ResNet50
from vestigo_models.networks.build import BACKBONES
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.relabel import first_refresh


def recipe_warnings(config: TrainConfig, *, is_rendered: bool) -> list[str]:
    """Return one line for each property of a configuration that makes its model worse than expected.

    Args:
        config: Training configuration.
        is_rendered: Whether the training images show rendered people, as those of the default parser do.
    """
    lines = []
    network = config.network.backbone
    if issubclass(BACKBONES[network], ResNet50 | ConvNext) and config.weights is None and config.base is None:
        lines.append(
            f"backbone {network} starts from random weights, and no ImageNet weights come with Vestigo;"
            " give some with --weights"
        )
    if config.needs_parser and config.parser == "default" and not is_rendered:
        lines.append(
            "the default parser labels these images, but was trained on rendered people; give one of real images"
            " with --parser, such as schp:CHECKPOINT"
        )
    first = first_refresh(config)
    if first is not None and first > min(config.epochs, config.relabel_until):
        lines.append(
            f"the label maps are never refreshed: {config.epochs} epochs, and the first refresh begins epoch {first};"
            " train longer or lower fls_start_epoch, as in --set fls_start_epoch=2"
        )
    return lines
