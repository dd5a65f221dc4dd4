"""Building of networks from their configuration."""

from vestigo_models.errors import ConfigError
from vestigo_models.networks.alm import AttributeHeads, attribute_regions
from vestigo_models.networks.backbones.base import Backbone
from vestigo_models.networks.backbones.tiny import Tiny
from vestigo_models.networks.backbones.transformers import ConvNext, ResNet50
from vestigo_models.networks.baseline import Baseline
from vestigo_models.networks.config import BackboneName, NetworkConfig
from vestigo_models.networks.neck import ConcatNeck, JoinedNeck, PyramidNeck
from vestigo_models.networks.outputs import ReidNetwork
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import GLOBAL, RegionSchema

BACKBONES: dict[BackboneName, type[ResNet50] | type[ConvNext] | type[Tiny]] = {
    "resnet50": ResNet50,
    "convnext": ConvNext,
    "tiny": Tiny,
}


def build_network(
    config: NetworkConfig,
    *,
    identities: int = 0,
    schema: AttributeSchema | None = None,
    regions: RegionSchema | None = None,
    attr_dropout: float = 0.0,
    awm_dropout: float | None = None,
) -> ReidNetwork:
    """Build a network with fresh weights.

    Args:
        config: The configuration.
        identities: Training identities; 0 for a network without the classifiers of training.
        schema: Attributes that the network predicts.
        regions: Regions that attributes are read from.
        attr_dropout: Share of the input of an attribute head that is dropped in training.
        awm_dropout: See `SemanticNetwork`.

    Raises:
        ConfigError: If keys contradict each other, there is no schema for attributes, or an attribute has no region.
    """
    backbone: Backbone = BACKBONES[config.backbone]()
    if config.neck == "none":
        if config.regions or config.attributes != "none":
            raise ConfigError("network: regions and attributes are read from F; give a neck: concat, fpn or joined")
        return Baseline(backbone, pooling=config.pooling, identities=identities)
    heads = None
    if config.attributes != "none":
        if schema is None:
            raise ConfigError(f"network.attributes={config.attributes}: no attribute schema; the data has no labels")
        heads = _build_heads(config, schema, regions, attr_dropout)
    elif config.awm:
        raise ConfigError("network.awm: re-weights attributes; set network.attributes to regions or global")
    return SemanticNetwork(
        config,
        backbone,
        _build_neck(config, backbone),
        heads,
        schema if heads is not None else None,
        awm_dropout=awm_dropout,
        identities=identities,
    )


def _build_neck(config: NetworkConfig, backbone: Backbone) -> ConcatNeck | JoinedNeck | PyramidNeck:
    if config.neck == "joined":
        coarse = config.channels - config.middle_channels - backbone.channels[0]
        if coarse < 1:
            raise ConfigError(
                f"network.channels={config.channels}: joined needs more than {backbone.channels[0]} fine and "
                f"{config.middle_channels} middle ones"
            )
        return JoinedNeck(backbone.channels, config.middle_channels, coarse)
    return (ConcatNeck if config.neck == "concat" else PyramidNeck)(backbone.channels, config.channels)


def _build_heads(
    config: NetworkConfig, schema: AttributeSchema, regions: RegionSchema | None, dropout: float
) -> AttributeHeads:
    if config.attributes == "global":
        return AttributeHeads(schema, (), dict.fromkeys(schema.names, (GLOBAL,)), config.channels, dropout)
    if not config.regions or regions is None:
        raise ConfigError("network.attributes=regions: the network has no regions; set network.regions, or use global")
    sources = attribute_regions(schema, config.attr_regions)
    return AttributeHeads(schema, regions.names[1:], sources, config.channels, dropout)
