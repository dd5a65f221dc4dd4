"""The baseline of the specification (sections 3, 8 and 12): backbone, pooling, BNNeck, classifier (BoT)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vestigo_models.networks.backbones.base import Backbone
from vestigo_models.networks.outputs import BNNeck, NetworkOutput, ReidNetwork
from vestigo_models.schemas.regions import GLOBAL

Pooling = Literal["average", "gem"]


class GeneralisedMean(nn.Module):
    """GeM pooling with a learnt exponent (Radenović et al., TPAMI 2019): between average (1) and maximum (infinity)."""

    def __init__(self, exponent: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.floor = floor

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W, not negative, to B x C."""
        # Powers of small numbers leave the range of half precision.
        powers = x.float().clamp(min=self.floor).pow(self.exponent)
        return powers.mean(dim=(2, 3)).pow(1.0 / self.exponent)


class GlobalAverage(nn.Module):
    """GAP: B x C x H x W to B x C, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to B x C."""
        return x.float().mean(dim=(2, 3))


class Baseline(ReidNetwork):
    """BoT: the last map of the backbone, pooled, through a BNNeck."""

    def __init__(self, backbone: Backbone, *, pooling: Pooling, identities: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = GeneralisedMean() if pooling == "gem" else GlobalAverage()
        self.necks = nn.ModuleDict({GLOBAL: BNNeck(backbone.channels[-1], identities)})

    def forward(self, x: Tensor) -> NetworkOutput:
        """B x 3 x H x W float32, normalised, to `NetworkOutput` with the global features alone."""
        return NetworkOutput({GLOBAL: self.necks[GLOBAL](self.pool(self.backbone(x)[-1]))})
