"""What every network says of a batch of crops, and the BNNeck that each of its features goes through."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from vestigo_models.networks.backbones.base import Backbone

PART, GLOBAL_ATTRIBUTES = "part", "globalattr"
"""Kinds of features besides `GLOBAL` and `FOREGROUND` (docs/method.md, section "Features and BNNeck")."""


class Features(NamedTuple):
    """One kind of features of B crops.

    `pre` (B x D) stands before the BNNeck and feeds the metric losses; `post` (B x D) stands after it and feeds the
    classifier and retrieval; `logits` (B x identities) exist only on a network built with identities.
    """

    pre: Tensor
    post: Tensor
    logits: Tensor | None


class NetworkOutput(NamedTuple):
    """What a network says of B crops.

    Attributes:
        features: by kind, those that the network has; `global` is always there.
        pixels: B x K x h x w logits of regions at the grid of F, None without regions.
        attributes: B x M log-probabilities, re-weighted where the network has AWM; None without attributes.
        plain: the same before re-weighting, the same object where there is none.
    """

    features: dict[str, Features]
    pixels: Tensor | None = None
    attributes: Tensor | None = None
    plain: Tensor | None = None


class BNNeck(nn.Module):
    """BatchNorm1d with its bias frozen at 0, then a bias-free classifier (BoT; specification, section 8)."""

    def __init__(self, dim: int, identities: int) -> None:
        super().__init__()
        self.dim = dim
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


class ReidNetwork(nn.Module):
    """What the networks share: a backbone, and a BNNeck for each kind of features, under `necks`."""

    backbone: Backbone
    necks: nn.ModuleDict

    @property
    def dims(self) -> dict[str, int]:
        """Length of each kind of features, in the order of a descriptor."""
        return {kind: int(neck.dim) for kind, neck in self.necks.items()}  # type: ignore[arg-type]

    def without_classifiers(self) -> None:
        """Forget the training identities: what is left is for inference."""
        for neck in self.necks.values():
            assert isinstance(neck, BNNeck)
            neck.classifier = None
