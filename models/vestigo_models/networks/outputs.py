"""The base classes of backbones and networks, the output for a batch of crops, and the BNNeck of its features."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Computes feature maps of images, from fine to coarse: map i is B x channels[i] x H/strides[i] x W/strides[i]."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    native_size: tuple[int, int]  # input size that the backbone is designed for: height and width in pixels

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of B x 3 x H x W float, normalised."""


class PretrainedBackbone(Backbone, ABC):
    """A backbone for which there are ImageNet weights; `shipped` is the folder of those that come with Vestigo."""

    shipped: Path | None = None

    @abstractmethod
    def load_imagenet(self, ref: str) -> None:
        """Load ImageNet weights from a file, a folder or a hub id.

        Raises:
            ModelError: If there is no such file, folder or hub id, or its names or shapes differ.
        """


PART, GLOBAL_ATTRIBUTES = "part", "globalattr"
"""Kinds of features besides `GLOBAL` and `FOREGROUND` (docs/method.md, section "Features and BNNeck")."""


class Features(NamedTuple):
    """One kind of features of B crops."""

    pre: Tensor  # before the BNNeck, B x D, for triplet and centre losses
    post: Tensor  # after the BNNeck, B x D, for the identity loss and retrieval
    logits: Tensor | None  # B x identities; None for a network without training identities


class NetworkOutput(NamedTuple):
    """The output of a network for B crops."""

    features: dict[str, Features]  # by kind; `global` is always present
    region_logits: Tensor | None = None  # B x K x H x W; None without regions
    attributes: Tensor | None = None  # log p-hat, B x M, or log p without AWM; None without attributes
    raw_attributes: Tensor | None = None  # log p, B x M; the same object as `attributes` without AWM


class BNNeck(nn.Module):
    """BatchNorm1d with its bias fixed at 0, then a linear classifier without bias (Luo et al., CVPR Workshops 2019).

    With 0 identities there is no classifier.
    """

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
        """Normalise and classify features, B x D."""
        post = self.norm(pre)
        return Features(pre, post, None if self.classifier is None else self.classifier(post))


class ReidNetwork(nn.Module):
    """The base class of networks: a backbone, and in `necks` a BNNeck for each kind of features."""

    backbone: Backbone
    necks: nn.ModuleDict

    @property
    def dims(self) -> dict[str, int]:
        """Length of each kind of features, in the order of a descriptor."""
        return {kind: int(neck.dim) for kind, neck in self.necks.items()}  # type: ignore[arg-type]

    def drop_classifiers(self) -> None:
        """Remove the classifiers of the training identities, which inference does not need."""
        for neck in self.necks.values():
            assert isinstance(neck, BNNeck)
            neck.classifier = None
