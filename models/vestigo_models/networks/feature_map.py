"""The feature map F, stored as the maps that it consists of, and the necks that make it from the maps of a backbone.

A neck may keep some channels of F on a coarser grid. F then consists of the fine channels and the enlarged coarse ones.
Everything that reads F is linear in it, so coarse channels are never enlarged: pooling an enlarged map with weights
equals pooling the coarse map with the weights on the coarse grid, brought there by the transposed enlargement.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class FeatureMap:
    """F of B images."""

    def __init__(self, maps: Sequence[Tensor], gate: Tensor | None = None) -> None:
        self.maps = tuple(maps)  # B x C_i x H_i x W_i, the finest first; F has its size, and C is the sum of the C_i
        self.gate = gate  # spatial attention, B x 1 x H x W, multiplied into every channel of F; None for 1

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
        pooled = []
        # Autocast would multiply in half precision.
        with torch.autocast(weights.device.type, enabled=False):
            weights = weights.float()
            if self.gate is not None:
                weights = weights * self.gate.float()
            for x in self.maps:
                coarse = _transpose_enlarge(weights, (x.shape[2], x.shape[3]))
                pooled.append(torch.bmm(coarse.flatten(2), x.float().flatten(2).transpose(1, 2)))
            return torch.cat(pooled, dim=2) / math.prod(self.size)

    def mean(self) -> Tensor:
        """Return GAP(F), B x C, float32."""
        return self.pool(torch.ones_like(self.maps[0][:, :1]))[:, 0]


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


class ConcatNeck(nn.Module):
    """The head of ISP: each map through a 1 x 1 convolution, enlarged, summed, normalised, ReLU.

    The sum of 1 x 1 convolutions equals one convolution of the concatenated maps, and needs a fraction of its memory.
    """

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, out, 1, bias=False) for width in channels)
        self.norm = nn.BatchNorm2d(out)
        self.channels = (out,)

    def forward(self, maps: Sequence[Tensor]) -> FeatureMap:
        """Combine maps B x C_i x H_i x W_i, the finest first, to F, B x C x H_0 x W_0, not negative."""
        total = self.laterals[0](maps[0])
        for lateral, x in zip(self.laterals[1:], maps[1:], strict=True):
            total = total + enlarge(lateral(x), maps[0].shape[2:])
        return FeatureMap((functional.relu(self.norm(total)),))


class PyramidNeck(nn.Module):
    """A feature pyramid (Lin et al., CVPR 2017): coarse maps are added to finer ones; F is the finest."""

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, out, 1) for width in channels)
        self.smooth = nn.Conv2d(out, out, 3, padding=1)
        self.channels = (out,)

    def forward(self, maps: Sequence[Tensor]) -> FeatureMap:
        """Combine maps B x C_i x H_i x W_i, the finest first, to F, B x C x H_0 x W_0, not negative."""
        total = cast(Tensor, self.laterals[-1](maps[-1]))
        for lateral, x in zip(reversed(self.laterals[:-1]), reversed(maps[:-1]), strict=True):
            total = lateral(x) + functional.interpolate(total, x.shape[2:], mode="nearest")
        return FeatureMap((functional.relu(self.smooth(total)),))


class JoinedNeck(nn.Module):
    """A neck for networks whose finest map is the most expensive: F keeps channels on three grids.

    The finest map is used unchanged, for edges. `middle` channels on the second grid combine all coarser maps, as in
    `ConcatNeck` but enlarged step by step, and pass one more 3 x 3 convolution. `coarse` channels on the third grid
    combine the maps from the third on.
    """

    def __init__(self, channels: Sequence[int], middle: int, coarse: int) -> None:
        super().__init__()
        self.channels = (channels[0], middle, coarse)
        self.first = nn.Conv2d(channels[1], middle, 1, bias=False)
        self.laterals = nn.ModuleList(nn.Conv2d(width, middle + coarse, 1, bias=False) for width in channels[2:])
        self.middle_norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(middle)
        self.coarse_norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(coarse)
        self.refine = nn.Sequential(
            nn.Conv2d(middle, middle, 3, padding=1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> FeatureMap:
        """Combine maps B x C_i x H_i x W_i, the finest first, to F, B x C x H_0 x W_0, not negative."""
        deep = self.laterals[0](maps[2])
        for lateral, x in zip(self.laterals[1:], maps[3:], strict=True):
            deep = deep + enlarge(lateral(x), maps[2].shape[2:])
        middle, coarse = deep.split(list(self.channels[1:]), dim=1)
        middle = functional.relu(self.middle_norm(self.first(maps[1]) + enlarge(middle, maps[1].shape[2:])))
        return FeatureMap((maps[0], self.refine(middle), functional.relu(self.coarse_norm(coarse))))


class SpatialAttention(nn.Module):
    """The attention of ISP: one weight in 0..1 for each cell, multiplied into F.

    It is computed on half of F's grid: by a stride of 2, or from channels that the neck keeps on a coarser grid.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        stride, self.source = (2, 0) if len(channels) == 1 else (1, 1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels[self.source], 1, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(1), nn.ReLU()
        )
        self.weigh = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, features: FeatureMap) -> FeatureMap:
        """Return F with its gate."""
        coarse = self.squeeze(features.maps[self.source])
        return FeatureMap(features.maps, self.weigh(enlarge(coarse, features.size)))
