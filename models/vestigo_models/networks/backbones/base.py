"""What every backbone promises, so that heads do not care which one they stand on."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Images to feature maps, from fine to coarse.

    `channels[i]` and `strides[i]` describe the i-th map: B x channels[i] x H/strides[i] x W/strides[i].
    `native_size` is the input (height, width) in pixels that the backbone was designed for.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    native_size: tuple[int, int]

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map B x 3 x H x W float, normalised, to the maps that `channels` and `strides` describe."""
