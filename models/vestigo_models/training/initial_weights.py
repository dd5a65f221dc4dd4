"""Initial weights: ImageNet weights or those of a package for the backbone, or a whole package."""

from __future__ import annotations

from vestigo_models.errors import ConfigError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.backbones.convnext import ConvNext
from vestigo_models.networks.backbones.resnet50 import ResNet50
from vestigo_models.networks.outputs import ReidNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.training.config import TrainConfig

PACKAGE_PREFIX = "package:"
"""Prefix of weights that are the backbone of a model package."""


def load_weights(network: ReidNetwork, config: TrainConfig, schema: AttributeSchema | None) -> None:
    """Load the weights of a configuration, first `weights`, then `base`, into a network.

    Raises:
        ConfigError: If they are for another network or for other attributes than those of `schema`.
        ModelError: If there are no such weights.
    """
    if config.weights is not None:
        _load_backbone(network, config.weights, config.network.backbone)
    if config.base is not None:
        base = ModelPackage.from_pretrained(config.base)
        if base.config.network != config.network:
            raise ConfigError(f"base={config.base!r}: that package has another network, {base.config.network!r}")
        if base.schema is not None and schema is not None and base.schema.digest != schema.digest:
            raise ConfigError(
                f"base={config.base!r}: that package predicts the attributes of {base.schema.name}, the data has those "
                f"of {schema.name}; start from a package of that schema"
            )
        network.load_state_dict({**network.state_dict(), **base.network.state_dict()})


def _load_backbone(network: ReidNetwork, ref: str, name: str) -> None:
    backbone = network.backbone
    if ref.startswith(PACKAGE_PREFIX):
        package = ModelPackage.from_pretrained(ref.removeprefix(PACKAGE_PREFIX))
        if package.config.network.backbone != name:
            raise ConfigError(f"weights={ref!r}: its backbone is {package.config.network.backbone}, not {name}")
        backbone.load_state_dict(package.network.backbone.state_dict())
    elif isinstance(backbone, ResNet50 | ConvNext):
        backbone.load_imagenet(ref)
    else:
        raise ConfigError(
            f"weights={ref!r}: there are no ImageNet weights for {name}; give a model package with that backbone:"
            f" {PACKAGE_PREFIX}FOLDER"
        )
