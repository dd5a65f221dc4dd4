"""From a configuration to a network."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vestigo_models.networks.backbone import Backbone
from vestigo_models.networks.baseline import Baseline, Pooling
from vestigo_models.networks.resnet50 import ResNet50
from vestigo_models.networks.tiny import Tiny

BackboneName = Literal["resnet50", "tiny"]
BACKBONES: dict[BackboneName, type[ResNet50] | type[Tiny]] = {"resnet50": ResNet50, "tiny": Tiny}


class NetworkConfig(BaseModel):
    """Everything that decides the shape of a network; it travels in the `config.json` of a model package."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: BackboneName = Field(description="`resnet50` (BoT, 256 x 128) or `tiny` (a CPU, 128 x 64)")
    pooling: Pooling = Field(default="average", description="`average` (BoT) or `gem` (generalised mean, learnt)")


def build_network(config: NetworkConfig, *, identities: int = 0) -> Baseline:
    """Build a network with fresh weights; `identities` > 0 adds the classifier that training needs."""
    backbone: Backbone = BACKBONES[config.backbone]()
    return Baseline(backbone, pooling=config.pooling, identities=identities)
