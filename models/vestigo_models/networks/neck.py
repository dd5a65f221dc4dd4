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
    """For networks whose finest map costs most: every channel of F stays on the grid where it can be told.

    The finest map is taken as it is, for where edges are; `middle` channels on the second grid see everything, as in
    `ConcatNeck` but enlarged step by step and looked at once more with their neighbours; `coarse` channels on the third
    grid see what is coarser still.
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
        """Maps B x C_i x H_i x W_i, the finest first, to F, B x (C_0 + middle + coarse) x H_0 x W_0, not negative."""
        third = (maps[2].shape[2], maps[2].shape[3])
        deep = self.laterals[0](maps[2])
        for lateral, found in zip(self.laterals[1:], maps[3:], strict=True):
            deep = deep + enlarge(lateral(found), third)
        middle, coarse = deep.split(list(self.channels[1:]), dim=1)
        second = self.first(maps[1]) + enlarge(middle, (maps[1].shape[2], maps[1].shape[3]))
        return FeatureMap(
            (
                maps[0],
                self.refine(functional.relu(self.middle_norm(second))),
                functional.relu(self.coarse_norm(coarse)),
            )
        )


class SpatialAttention(nn.Module):
    """ISP's attention: one weight in 0..1 for each cell, multiplied into F.

    It is made on half of F's grid: by a stride of 2, or from channels that a neck left on a coarser grid.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        stride, self.source = (2, 0) if len(channels) == 1 else (1, 1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels[self.source], 1, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(1), nn.ReLU()
        )
        self.weigh = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, features: FeatureMap) -> FeatureMap:
        """F with its gate."""
        coarse = self.squeeze(features.maps[self.source])
        return FeatureMap(features.maps, self.weigh(enlarge(coarse, features.size)))
