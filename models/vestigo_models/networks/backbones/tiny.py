"""`tiny`: a small residual network for 128 x 64 crops on a CPU.

It has the bottlenecks of ResNet-50 at a fraction of its width. The two shallow stages end in instance normalisation of
half of their channels (after IBN-Net; Pan et al., ECCV 2018), which removes a camera's colour and contrast from that
half, for models that are trained in one domain and used in another. The stem has no pooling, so its stride-2 map is
available to the neck.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.networks.backbones.base import Backbone


class HalfInstanceNorm(nn.Module):
    """Instance normalisation of the first half of the channels; the others are unchanged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.normalised = channels // 2
        self.norm = nn.InstanceNorm2d(self.normalised, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise B x C x H x W."""
        # In float32: on a CPU, torch's instance normalisation of bfloat16 sometimes yields NaN.
        normalised = self.norm(x[:, : self.normalised].contiguous().float()).to(x.dtype)
        joined = torch.cat([normalised, x[:, self.normalised :]], dim=1)
        # Restored once here, because every layer that reads the map would restore the layout by itself.
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return joined.contiguous(memory_format=torch.channels_last) if channels_last else joined


class Bottleneck(nn.Module):
    """A residual block of 1 x 1, 3 x 3 and 1 x 1 convolutions."""

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
        """Transform B x C x H x W."""
        return functional.relu(x + self.body(x))


class Tiny(Backbone):
    """Strides 2 (the stem), 4, 8 and 16; the maps of a 128 x 64 input are 64 x 32, 32 x 16, 16 x 8 and 8 x 4."""

    channels = (16, 48, 96, 256)
    strides = (2, 4, 8, 16)
    native_size = (128, 64)

    def __init__(self) -> None:
        super().__init__()
        stem, first, second, third = self.channels
        self.stem = nn.Sequential(*_convolution(3, stem, 3, stride=2), nn.ReLU(inplace=True))
        self.stage1 = _stage(stem, first, middle=24, blocks=1, last=HalfInstanceNorm(first))
        self.stage2 = _stage(first, second, middle=48, blocks=2, last=HalfInstanceNorm(second))
        self.stage3 = _stage(second, third, middle=96, blocks=2, last=nn.Identity())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the four maps."""
        stem = self.stem(x)
        first = self.stage1(stem)
        second = self.stage2(first)
        return stem, first, second, self.stage3(second)


def _convolution(channels: int, out: int, kernel: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out)


def _stage(channels: int, out: int, *, middle: int, blocks: int, last: nn.Module) -> nn.Sequential:
    down = (*_convolution(channels, out, 3, stride=2), nn.ReLU(inplace=True))
    return nn.Sequential(*down, *(Bottleneck(out, middle) for _ in range(blocks)), last)
