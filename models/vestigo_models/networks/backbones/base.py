"""The base class of backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Computes feature maps of images, from fine to coarse.

    Attributes:
        channels: Channels of each map.
        strides: Stride of each map: it is B x channels[i] x H/strides[i] x W/strides[i].
        native_size: Input size that the backbone is designed for: height and width in pixels.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    native_size: tuple[int, int]

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of B x 3 x H x W float, normalised."""


class TransformersBackbone(Backbone):
    """A backbone of the transformers library; its maps are those of all stages."""

    native_size = (256, 128)

    def __init__(self, backbone_class: Any, config: Any) -> None:
        super().__init__()
        config.out_features = [f"stage{stage + 1}" for stage in range(len(config.depths or ()))]
        body: Any = backbone_class(config)
        self.body: nn.Module = body
        self.channels = tuple(config.hidden_sizes or ())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of B x 3 x H x W float, normalised."""
        maps: tuple[Tensor, ...] = self.body(x).feature_maps
        return maps
