"""The network of the embedded parser: a small encoder and decoder for 128 x 64 crops on a CPU.

A U-Net in its wiring (Ronneberger et al., MICCAI 2015), of residual blocks, with sums in place of its concatenations.
As in `tiny`, the two shallow stages normalise half of their channels per image, which takes a camera's colour and
contrast out of that half. The deepest map is joined by its own mean over the image: how large and how upright a person
stands in the crop helps to name the pieces.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.networks.backbones.tiny import HalfInstanceNorm

STRIDE = 16
"""Of the deepest map: the sides of an input are multiples of it."""
WIDTHS = (24, 48, 80, 128)
"""Channels at strides 2, 4, 8 and 16."""


class Residual(nn.Module):
    """Two 3x3 convolutions around the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = convolution(channels, channels, 3)
        self.two = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        return functional.relu(x + self.two(self.one(x)))


class ParserNetwork(nn.Module):
    """B x 3 x H x W to logits B x `classes` x H/2 x W/2; H and W are multiples of 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        first, second, third, fourth = WIDTHS
        self.stem = nn.Sequential(convolution(3, first, 3, stride=2), convolution(first, first, 3))
        self.stage1 = nn.Sequential(convolution(first, second, 3, stride=2), Residual(second), HalfInstanceNorm(second))
        self.stage2 = nn.Sequential(convolution(second, third, 3, stride=2), Residual(third), HalfInstanceNorm(third))
        self.stage3 = nn.Sequential(convolution(third, fourth, 3, stride=2), Residual(fourth), Residual(fourth))
        self.context = nn.Conv2d(fourth, fourth, 1)
        self.lateral3 = nn.Conv2d(fourth, third, 1, bias=False)
        self.join2 = Residual(third)
        self.lateral2 = nn.Conv2d(third, second, 1, bias=False)
        self.join1 = Residual(second)
        self.lateral1 = nn.Conv2d(second, first, 1, bias=False)
        self.join0 = convolution(first, first, 3)
        self.head = nn.Conv2d(first, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        fine = self.stem(x)
        one = self.stage1(fine)
        two = self.stage2(one)
        deep = self.stage3(two)
        deep = deep + self.context(deep.mean(dim=(2, 3), keepdim=True))
        two = self.join2(two + doubled(self.lateral3(deep)))
        one = self.join1(one + doubled(self.lateral2(two)))
        logits: Tensor = self.head(self.join0(fine + doubled(self.lateral1(one))))
        return logits


def doubled(x: Tensor) -> Tensor:
    """B x C x H x W to B x C x 2H x 2W."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def convolution(channels: int, out: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (or divides it by `stride`), batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )
