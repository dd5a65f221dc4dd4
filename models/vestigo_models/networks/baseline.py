"""The baseline of the specification (sections 3, 8 and 12): backbone, pooling, BNNeck, classifier (BoT)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vestigo_models.networks.backbone import Backbone

Pooling = Literal["average", "gem"]


class Features(NamedTuple):
    """What the network says of a batch of B crops.

    `pre` (B x D) stands before the BNNeck and feeds the metric losses; `post` (B x D) stands after it and feeds the
    classifier and, L2-normalised, retrieval; `logits` (B x identities) exist only on a network built with identities.
    """

    pre: Tensor
    post: Tensor
    logits: Tensor | None


class BNNeck(nn.Module):
    """BatchNorm1d with its bias frozen at 0, then a bias-free classifier (BoT; specification, section 8)."""

    def __init__(self, dim: int, identities: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier: nn.Linear | None = None
        if identities:
            self.classifier = nn.Linear(dim, identities, bias=False)
            nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, pre: Tensor) -> Features:
        """B x D to `Features`."""
        post = self.norm(pre)
        return Features(pre, post, None if self.classifier is None else self.classifier(post))


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


class Baseline(nn.Module):
    """BoT: the last map of the backbone, pooled, through a BNNeck."""

    def __init__(self, backbone: Backbone, *, pooling: Pooling, identities: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = GeneralisedMean() if pooling == "gem" else GlobalAverage()
        self.neck = BNNeck(backbone.channels[-1], identities)

    @property
    def embedding_dim(self) -> int:
        """D, the length of an embedding."""
        return self.backbone.channels[-1]

    def forward(self, x: Tensor) -> Features:
        """B x 3 x H x W float32, normalised, to `Features`."""
        features: Features = self.neck(self.pool(self.backbone(x)[-1]))
        return features
