"""From the maps of a backbone to one global feature map F at the finest map's resolution (specification, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional


class ConcatNeck(nn.Module):
    """The analogue of ISP's head: every map through a 1x1 convolution, enlarged, summed, normalised.

    Summing after 1x1 convolutions equals one convolution of the concatenated maps, at a fraction of the memory.
    """

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, out, 1, bias=False) for width in channels)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps B x C_i x H_i x W_i, the finest first, to F, B x out x H_0 x W_0."""
        size = maps[0].shape[2:]
        total: Tensor | None = None
        for lateral, found in zip(self.laterals, maps, strict=True):
            part = lateral(found)
            if part.shape[2:] != size:
                part = functional.interpolate(part, size, mode="bilinear", align_corners=False)
            total = part if total is None else total + part
        return functional.relu(self.norm(total))


class PyramidNeck(nn.Module):
    """A feature pyramid (Lin et al., CVPR 2017): coarse maps are added to finer ones on the way up; F is the finest."""

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, out, 1) for width in channels)
        self.smooth = nn.Conv2d(out, out, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps B x C_i x H_i x W_i, the finest first, to F, B x out x H_0 x W_0, not negative."""
        total = cast(Tensor, self.laterals[-1](maps[-1]))
        for lateral, found in zip(reversed(self.laterals[:-1]), reversed(maps[:-1]), strict=True):
            enlarged = functional.interpolate(total, found.shape[2:], mode="nearest")
            total = lateral(found) + enlarged
        return functional.relu(self.smooth(total))


class SpatialAttention(nn.Module):
    """ISP's attention: one weight in 0..1 for each cell, multiplied into F."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, 1, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(1), nn.ReLU(inplace=True)
        )
        self.weigh = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        coarse = self.squeeze(x)
        fine = functional.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)
        return x * cast(Tensor, self.weigh(fine))
