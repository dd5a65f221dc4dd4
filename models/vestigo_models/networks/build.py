"""From a configuration to a network."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vestigo_models.errors import ConfigError
from vestigo_models.networks.alm import AttributeHeads, PoolNorm, attribute_regions
from vestigo_models.networks.backbones.base import Backbone
from vestigo_models.networks.backbones.convnext import ConvNext
from vestigo_models.networks.backbones.resnet50 import ResNet50
from vestigo_models.networks.backbones.tiny import Tiny
from vestigo_models.networks.baseline import Baseline, Pooling
from vestigo_models.networks.neck import ConcatNeck, JoinedNeck, PyramidNeck
from vestigo_models.networks.outputs import ReidNetwork
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import GLOBAL, RegionSchema

BackboneName = Literal["resnet50", "convnext", "tiny"]
BACKBONES: dict[BackboneName, type[ResNet50] | type[ConvNext] | type[Tiny]] = {
    "resnet50": ResNet50,
    "convnext": ConvNext,
    "tiny": Tiny,
}


class NetworkConfig(BaseModel):
    """Everything that decides the shape of a network; it travels in the `config.json` of a model package."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: BackboneName = Field(
        description="`resnet50` (the paper's, 256 x 128), `convnext` (256 x 128) or `tiny` (a CPU, 128 x 64)"
    )
    pooling: Pooling = Field(
        default="average", description="of a network without a neck: `average` (BoT) or `gem` (generalised mean)"
    )
    neck: Literal["none", "concat", "fpn", "joined"] = Field(
        default="none",
        description="what makes the feature map F; `none` is BoT, `joined` keeps channels on coarser grids",
    )
    channels: int = Field(default=256, ge=2, description="channels of F")
    middle_channels: int = Field(default=32, ge=1, description="those of them that `joined` has on the second grid")
    spatial_attention: bool = Field(default=True, description="weigh the cells of F, as in ISP")
    global_source: Literal["F", "c5"] = Field(
        default="F", description="the global feature: pooled F, or the backbone's pooled last map (BoT's vector)"
    )
    regions: int = Field(
        default=0, ge=0, le=16, description="K, regions with background: 6 with belongings, 5 without, 0 for none"
    )
    pool_norm: PoolNorm = Field(default="none", description="divide a region's features by its `area`, or not")
    detach_masks: bool = Field(default=False, description="stop gradients of features at the region probabilities")
    visibility_min_cells: int = Field(default=1, ge=1, description="cells of a region that make it visible")
    distance: Literal["visible", "concat"] = Field(
        default="visible", description="equation 14, or one cosine of all features side by side"
    )
    attributes: Literal["none", "global", "regions"] = Field(
        default="none", description="read attributes from the global feature, from regions (ALM), or not at all"
    )
    attr_regions: dict[str, tuple[str, ...]] | None = Field(
        default=None, description="regions that attributes are read from, instead of those of the schema"
    )
    awm: bool = Field(default=False, description="re-weight attributes by one another")
    attr_scale: float = Field(default=1.0, gt=0, description="factor on attribute scores beside the global feature")


def build_network(
    config: NetworkConfig,
    *,
    identities: int = 0,
    schema: AttributeSchema | None = None,
    regions: RegionSchema | None = None,
    attr_dropout: float = 0.0,
    awm_dropout: float | None = None,
) -> ReidNetwork:
    """Build a network with fresh weights; `identities` > 0 adds the classifiers that training needs.

    `attr_dropout` of what an attribute head reads is hidden from it while training; for `awm_dropout` see
    `SemanticNetwork`.

    Raises:
        ConfigError: keys that contradict each other, attributes without a schema, or an attribute without a region.
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
        heads = _heads(config, schema, regions, attr_dropout)
    elif config.awm:
        raise ConfigError("network.awm: re-weights attributes; set network.attributes to regions or global")
    return SemanticNetwork(
        backbone,
        _neck(config, backbone),
        attention=config.spatial_attention,
        regions=config.regions,
        heads=heads,
        schema=schema if heads is not None else None,
        reweighted=config.awm,
        awm_dropout=awm_dropout,
        global_from_last=config.global_source == "c5",
        pool_norm=config.pool_norm,
        detach_masks=config.detach_masks,
        attribute_scale=config.attr_scale,
        identities=identities,
    )


def _neck(config: NetworkConfig, backbone: Backbone) -> ConcatNeck | JoinedNeck | PyramidNeck:
    if config.neck == "joined":
        coarse = config.channels - config.middle_channels - backbone.channels[0]
        if coarse < 1:
            raise ConfigError(
                f"network.channels={config.channels}: joined needs more than {backbone.channels[0]} fine and "
                f"{config.middle_channels} middle ones"
            )
        return JoinedNeck(backbone.channels, config.middle_channels, coarse)
    return (ConcatNeck if config.neck == "concat" else PyramidNeck)(backbone.channels, config.channels)


def _heads(
    config: NetworkConfig, schema: AttributeSchema, regions: RegionSchema | None, dropout: float
) -> AttributeHeads:
    if config.attributes == "global":
        return AttributeHeads(schema, (), dict.fromkeys(schema.names, (GLOBAL,)), config.channels, dropout)
    if not config.regions or regions is None:
        raise ConfigError("network.attributes=regions: the network has no regions; set network.regions, or use global")
    sources = attribute_regions(schema, config.attr_regions)
    return AttributeHeads(schema, regions.names[1:], sources, config.channels, dropout)
