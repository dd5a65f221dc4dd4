"""Necks: from the maps of a backbone to the feature map F at the resolution of the finest map."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.networks.feature_map import FeatureMap, enlarge


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
            enlarged = functional.interpolate(total, x.shape[2:], mode="nearest")
            total = lateral(x) + enlarged
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
