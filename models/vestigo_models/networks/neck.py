"""From the maps of a backbone to the global feature map F at the finest map's resolution (specification, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.networks.feature_map import FeatureMap, enlarge


class ConcatNeck(nn.Module):
    """The analogue of ISP's head: every map through a 1x1 convolution, enlarged, summed, normalised.

    Summing after 1x1 convolutions equals one convolution of the concatenated maps, at a fraction of the memory.
    """

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, out, 1, bias=False) for width in channels)
        self.norm = nn.BatchNorm2d(out)
        self.channels = (out,)

    def forward(self, maps: Sequence[Tensor]) -> FeatureMap:
        """Maps B x C_i x H_i x W_i, the finest first, to F, B x out x H_0 x W_0, not negative."""
        size = (maps[0].shape[2], maps[0].shape[3])
        total: Tensor | None = None
        for lateral, found in zip(self.laterals, maps, strict=True):
            part = enlarge(lateral(found), size)
            total = part if total is None else total + part
        return FeatureMap((functional.relu(self.norm(total)),))


class PyramidNeck(nn.Module):
    """A feature pyramid (Lin et al., CVPR 2017): coarse maps are added to finer ones on the way up; F is the finest."""

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, out, 1) for width in channels)
        self.smooth = nn.Conv2d(out, out, 3, padding=1)
        self.channels = (out,)

    def forward(self, maps: Sequence[Tensor]) -> FeatureMap:
        """Maps B x C_i x H_i x W_i, the finest first, to F, B x out x H_0 x W_0, not negative."""
        total = cast(Tensor, self.laterals[-1](maps[-1]))
        for lateral, found in zip(reversed(self.laterals[:-1]), reversed(maps[:-1]), strict=True):
            enlarged = functional.interpolate(total, found.shape[2:], mode="nearest")
            total = lateral(found) + enlarged
        return FeatureMap((functional.relu(self.smooth(total)),))


class JoinedNeck(nn.Module):
    """For networks whose finest map costs most: all others meet on the second finest grid, as in `ConcatNeck`.

    F is that, enlarged, and beside it `thin` channels of the finest map, which know where edges are.
    """

    def __init__(self, channels: Sequence[int], out: int, thin: int) -> None:
        super().__init__()
        self.coarse = ConcatNeck(channels[1:], out - thin)
        self.fine = nn.Sequential(nn.Conv2d(channels[0], thin, 1, bias=False), nn.BatchNorm2d(thin), nn.ReLU())
        self.channels = (thin, out - thin)

    def forward(self, maps: Sequence[Tensor]) -> FeatureMap:
        """Maps B x C_i x H_i x W_i, the finest first, to F, B x out x H_0 x W_0, not negative."""
        return FeatureMap((self.fine(maps[0]), *self.coarse(maps[1:]).maps))


class SpatialAttention(nn.Module):
    """ISP's attention: one weight in 0..1 for each cell, multiplied into F.

    It is made on half of F's grid: by a stride of 2, or from channels that a neck left there.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        stride = 2 if len(channels) == 1 else 1
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels[-1], 1, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(1), nn.ReLU()
        )
        self.weigh = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, features: FeatureMap) -> FeatureMap:
        """F with its gate."""
        coarse = self.squeeze(features.maps[-1])
        return FeatureMap(features.maps, self.weigh(enlarge(coarse, features.size)))
