"""`tiny`: a small residual network for 128 x 64 crops on a CPU (specification, section 3).

Bottlenecks as in BoT's ResNet-50, at a small fraction of its width. It differs where a model that learns from one
domain and works in another needs it: the two shallow stages end in instance normalisation of half of their channels
(after IBN-Net, Pan et al., "Two at Once", ECCV 2018), which takes a camera's colour and contrast out of that half
and leaves it in the other. The stem has no pooling, so its stride-2 map stays available to heads that need the fine
grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.networks.backbones.base import Backbone


class HalfInstanceNorm(nn.Module):
    """Instance normalisation of the first half of the channels; the others pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.normalised = channels // 2
        self.norm = nn.InstanceNorm2d(self.normalised, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        # In float32: on a CPU, torch's instance normalisation of bfloat16 now and then yields numbers that are none.
        normalised = self.norm(x[:, : self.normalised].contiguous().float()).to(x.dtype)
        joined = torch.cat([normalised, x[:, self.normalised :]], dim=1)
        # Several layers read it: one of them after the other would bring it back to the layout that all others have.
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return joined.contiguous(memory_format=torch.channels_last) if channels_last else joined


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a residual of the same shape."""

    def __init__(self, channels: int, middle: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, middle, 1),
            nn.ReLU(inplace=True),
            *_convolution(middle, middle, 3),
            nn.ReLU(inplace=True),
            *_convolution(middle, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        return functional.relu(x + self.body(x))


class Tiny(Backbone):
    """Maps of strides 2 (the stem), 4, 8 and 16; for a 128 x 64 input they are 64x32, 32x16, 16x8 and 8x4."""

    channels = (16, 48, 96, 256)
    strides = (2, 4, 8, 16)
    native_size = (128, 64)

    def __init__(self) -> None:
        super().__init__()
        stem, one, two, three = self.channels
        self.stem = nn.Sequential(*_convolution(3, stem, 3, stride=2), nn.ReLU(inplace=True))
        self.stage1 = _stage(stem, one, middle=24, blocks=1, last=HalfInstanceNorm(one))
        self.stage2 = _stage(one, two, middle=48, blocks=2, last=HalfInstanceNorm(two))
        self.stage3 = _stage(two, three, middle=96, blocks=2, last=nn.Identity())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See `Backbone.forward`."""
        stem = self.stem(x)
        one = self.stage1(stem)
        two = self.stage2(one)
        return stem, one, two, self.stage3(two)


def _convolution(channels: int, out: int, kernel: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out)


def _stage(channels: int, out: int, *, middle: int, blocks: int, last: nn.Module) -> nn.Sequential:
    down = (*_convolution(channels, out, 3, stride=2), nn.ReLU(inplace=True))
    return nn.Sequential(*down, *(Bottleneck(out, middle) for _ in range(blocks)), last)
