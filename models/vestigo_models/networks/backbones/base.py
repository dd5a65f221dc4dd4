"""The base class of backbones."""

from abc import ABC, abstractmethod

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
