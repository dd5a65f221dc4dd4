"""The configuration of a network."""

from typing import Annotated, Literal

from pydantic import Field

from vestigo_models.strict_model import StrictModel

BackboneName = Literal["resnet50", "convnext", "small", "tiny"]
Pooling = Literal["average", "gem"]
PoolNorm = Literal["none", "area"]
_Side = Annotated[int, Field(ge=1, le=4096)]
InputSize = tuple[_Side, _Side]
"""Height and width in pixels."""


class NetworkConfig(StrictModel):
    """Everything that decides the shape of a network; stored in the `config.json` of a model package."""

    backbone: BackboneName = Field(description="`resnet50` (the paper's), `convnext`, or for CPUs `small` or `tiny`")
    pooling: Pooling = Field(default="average", description="of a network without a neck; `average` is BoT")
    neck: Literal["none", "concat", "fpn", "joined"] = Field(default="none", description="what makes F; `none` is BoT")
    channels: int = Field(default=256, ge=2, le=65536, description="channels of F")
    middle_channels: int = Field(default=32, ge=1, le=65536, description="those of them on the second grid of `joined`")
    spatial_attention: bool = Field(default=True, description="weigh the cells of F, as in ISP")
    global_source: Literal["F", "c5"] = Field(
        default="F", description="the global feature: pooled F, or the backbone's pooled last map (BoT's vector)"
    )
    regions: int = Field(default=0, ge=0, le=16, description="K: 6 with belongings, 5 without, 0 for none")
    pool_norm: PoolNorm = Field(default="none", description="divide a region's features by its `area`, or not")
    detach_masks: bool = Field(default=False, description="stop gradients of features at the region probabilities")
    visibility_min_cells: int = Field(default=1, ge=1, le=65536, description="cells of a region that make it visible")
    distance: Literal["visible", "concat"] = Field(default="visible", description="equation 14, or one cosine of all")
    compared_regions: tuple[str, ...] | None = Field(
        default=None, description="regions whose features `visible` compares one by one; null: all"
    )
    attributes: Literal["none", "global", "regions"] = Field(
        default="none", description="read attributes from the global feature, from regions (ALM), or not at all"
    )
    attr_regions: dict[str, tuple[str, ...]] | None = Field(default=None, description="instead of those of the schema")
    awm: bool = Field(default=False, description="re-weight attributes by one another")
    attr_scale: float = Field(default=1.0, gt=0, description="factor on attribute scores in the global feature")
