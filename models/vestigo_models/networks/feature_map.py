"""The global feature map F (specification, section 3), kept as the maps that it is made of.

F is B x C x H x W. A neck may leave some of its channels at a coarser grid; F then is those channels enlarged
(bilinearly) beside the fine ones. Everything that reads F is linear in it up to the pooling weights, so that the coarse
channels never need to be enlarged: pooling enlarged features with weights is pooling coarse features with the weights
brought to the coarse grid by the transposed enlargement.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional


class FeatureMap:
    """F of B images.

    Args:
        maps: B x C_i x H_i x W_i, the finest first; its size is that of F, and the channels of all make C.
        gate: B x 1 x H x W, multiplied into every channel of F (spatial attention); None for 1.
    """

    def __init__(self, maps: Sequence[Tensor], gate: Tensor | None = None) -> None:
        self.maps = tuple(maps)
        self.gate = gate

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return self.maps[0].shape[2], self.maps[0].shape[3]

    def full(self) -> Tensor:
        """F itself, B x C x H x W."""
        together = torch.cat([enlarge(found, self.size) for found in self.maps], dim=1)
        return together if self.gate is None else together * self.gate

    def pooled(self, weights: Tensor) -> Tensor:
        """Mean over cells of F times each of k weights: B x k x H x W to B x k x C, float32."""
        height, width = self.size
        weights = weights.float()
        if self.gate is not None:
            weights = weights * self.gate.float()
        parts = []
        for found in self.maps:
            coarse = _transposed(weights, (found.shape[2], found.shape[3]))
            parts.append(torch.bmm(coarse.flatten(2), found.float().flatten(2).transpose(1, 2)))
        return torch.cat(parts, dim=2) / (height * width)

    def mean(self) -> Tensor:
        """GAP(F), B x C, float32."""
        batch = self.maps[0].shape[0]
        return self.pooled(self.maps[0].new_ones(batch, 1, *self.size))[:, 0]


class PixelClassifier(nn.Module):
    """A 1 x 1 convolution of F to K logits at every cell (specification, section 6); `channels` are those of its maps.

    Enlarging and 1 x 1 convolving commute, so only K channels are enlarged.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.convolution = nn.Conv2d(sum(channels), classes, 1)

    def forward(self, features: FeatureMap) -> Tensor:
        """F to B x K x H x W logits."""
        weights = torch.split(self.convolution.weight, list(self.channels), dim=1)
        total = functional.conv2d(features.maps[0], weights[0])
        for found, weight in zip(features.maps[1:], weights[1:], strict=True):
            total += enlarge(functional.conv2d(found, weight), features.size)
        if features.gate is not None:
            total = total * features.gate
        assert self.convolution.bias is not None
        # Regions are looked at plane by plane: softmax, pooling and areas are faster so.
        return (total + self.convolution.bias[:, None, None]).contiguous()


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear enlargement of B x C x h x w to B x C x H x W; as it is where it has that size."""
    if tuple(x.shape[2:]) == size:
        return x
    return functional.interpolate(x, size, mode="bilinear", align_corners=False)


def _transposed(weights: Tensor, size: tuple[int, int]) -> Tensor:
    """The transpose of `enlarge`: B x k x H x W to B x k x h x w."""
    if tuple(weights.shape[2:]) == size:
        return weights
    rows = _enlargement(size[0], weights.shape[2]).to(weights)
    columns = _enlargement(size[1], weights.shape[3]).to(weights)
    return rows.T @ (weights @ columns)


@lru_cache(maxsize=64)
def _enlargement(coarse: int, fine: int) -> Tensor:
    """Bilinear enlargement along one axis as a matrix, fine x coarse."""
    with torch.inference_mode(False), torch.no_grad():
        eye = torch.eye(coarse)[None, None]
        return functional.interpolate(eye, (fine, coarse), mode="bilinear", align_corners=False)[0, 0]
