"""The baseline (BoT; Luo et al., CVPR Workshops 2019): backbone, pooling, BNNeck."""

import torch
from torch import Tensor, nn

from vestigo_models.networks.backbones.base import Backbone
from vestigo_models.networks.config import Pooling
from vestigo_models.networks.outputs import BNNeck, NetworkOutput, ReidNetwork
from vestigo_models.schemas.regions import GLOBAL


class GeneralisedMean(nn.Module):
    """GeM pooling with a learnt exponent (Radenović et al., TPAMI 2019): from average (1) to maximum (infinity)."""

    def __init__(self, exponent: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.floor = floor

    def forward(self, x: Tensor) -> Tensor:
        """Pool B x C x H x W, not negative, to B x C."""
        # Powers of small numbers leave the range of half precision.
        powers = x.float().clamp(min=self.floor).pow(self.exponent)
        return powers.mean(dim=(2, 3)).pow(1.0 / self.exponent)


class Baseline(ReidNetwork):
    """The pooled last map of the backbone through a BNNeck; `identities` is 0 for inference."""

    def __init__(self, backbone: Backbone, *, pooling: Pooling, identities: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = GeneralisedMean() if pooling == "gem" else None
        self.necks = nn.ModuleDict({GLOBAL: BNNeck(backbone.channels[-1], identities)})

    def forward(self, x: Tensor) -> NetworkOutput:
        """Compute the global features of B x 3 x H x W float32, normalised."""
        last = self.backbone(x)[-1]
        pooled = last.float().mean(dim=(2, 3)) if self.pool is None else self.pool(last)
        return NetworkOutput({GLOBAL: self.necks[GLOBAL](pooled)})
