"""The feature map F, stored as the maps that it consists of.

A neck may keep some channels of F on a coarser grid. F then consists of the fine channels and the enlarged coarse ones.
Everything that reads F is linear in it, so coarse channels are never enlarged: pooling an enlarged map with weights
equals pooling the coarse map with the weights on the coarse grid, brought there by the transposed enlargement.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional


class FeatureMap:
    """F of B images.

    Args:
        maps: B x C_i x H_i x W_i, the finest first; F has its size, and C is the sum of the C_i.
        gate: Spatial attention, B x 1 x H x W, multiplied into every channel of F; None for 1.
    """

    def __init__(self, maps: Sequence[Tensor], gate: Tensor | None = None) -> None:
        self.maps = tuple(maps)
        self.gate = gate

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return self.maps[0].shape[2], self.maps[0].shape[3]

    def to_tensor(self) -> Tensor:
        """Return F as one tensor, B x C x H x W."""
        joined = torch.cat([enlarge(x, self.size) for x in self.maps], dim=1)
        return joined if self.gate is None else joined * self.gate

    def pool(self, weights: Tensor) -> Tensor:
        """Return the mean over cells of F times each of k weights, B x k x H x W to B x k x C, float32."""
        height, width = self.size
        pooled = []
        # Autocast would multiply in half precision.
        with torch.autocast(weights.device.type, enabled=False):
            weights = weights.float()
            if self.gate is not None:
                weights = weights * self.gate.float()
            for x in self.maps:
                coarse = _transpose_enlarge(weights, (x.shape[2], x.shape[3]))
                pooled.append(torch.bmm(coarse.flatten(2), x.float().flatten(2).transpose(1, 2)))
            return torch.cat(pooled, dim=2) / (height * width)

    def mean(self) -> Tensor:
        """Return GAP(F), B x C, float32."""
        batch = self.maps[0].shape[0]
        return self.pool(self.maps[0].new_ones(batch, 1, *self.size))[:, 0]


class PixelClassifier(nn.Module):
    """A 1 x 1 convolution of F to K logits for each cell (docs/method.md, section "ALM").

    Enlarging and 1 x 1 convolutions commute, so only K channels are enlarged.
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.convolution = nn.Conv2d(sum(channels), classes, 1)

    def forward(self, features: FeatureMap) -> Tensor:
        """Return logits, B x K x H x W."""
        weights = torch.split(self.convolution.weight, list(self.channels), dim=1)
        total = functional.conv2d(features.maps[0], weights[0])
        for x, weight in zip(features.maps[1:], weights[1:], strict=True):
            total += enlarge(functional.conv2d(x, weight), features.size)
        if features.gate is not None:
            total = total * features.gate
        assert self.convolution.bias is not None
        # Softmax, pooling and areas read the logits plane by plane, which is faster in this layout.
        return (total + self.convolution.bias[:, None, None]).contiguous()


def enlarge(x: Tensor, size: Sequence[int]) -> Tensor:
    """Enlarge B x C x h x w bilinearly to B x C x H x W; a map of that size is returned unchanged."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


def _transpose_enlarge(weights: Tensor, size: tuple[int, int]) -> Tensor:
    """Apply the transpose of `enlarge`: B x k x H x W to B x k x h x w."""
    if tuple(weights.shape[2:]) == size:
        return weights
    rows = _enlargement(size[0], weights.shape[2]).to(weights)
    columns = _enlargement(size[1], weights.shape[3]).to(weights)
    return rows.T @ (weights @ columns)


@lru_cache(maxsize=64)
def _enlargement(coarse: int, fine: int) -> Tensor:
    """Return bilinear enlargement along one axis as a matrix, fine x coarse."""
    with torch.inference_mode(False), torch.no_grad():
        eye = torch.eye(coarse)[None, None]
        return functional.interpolate(eye, (fine, coarse), mode="bilinear", align_corners=False)[0, 0]
