"""The backbone `small`: the stages of EfficientNet-Lite0 (Tan and Le, ICML 2019; Liu, TensorFlow blog, 2020).

EfficientNet-Lite has no squeeze-and-excitation and ReLU6 instead of swish, which suits CPUs and small numbers of bits.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from vestigo_models.networks.outputs import PretrainedBackbone
from vestigo_models.networks.weights import load_weights, read_weights

NORM_EPSILON = 1e-3
"""Of batch normalisation, as in the original definition."""


class StageShape(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    StageShape(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    StageShape(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    StageShape(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    StageShape(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    StageShape(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    # The stride of the original is 2; 1 keeps cells for the parts of a person, as BoT does with ResNet-50.
    StageShape(blocks=4, kernel=5, stride=1, expansion=6, channels=192),
    StageShape(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 512
"""The head has 1280 channels in the original; 512 rank people as well, and make descriptors half as long."""
MAPPED_STAGES = (0, 1, 2, 4)
"""Stages whose maps the backbone returns, besides that of the head."""


class InvertedResidual(nn.Module):
    """An inverted residual block (Sandler et al., CVPR 2018): wide inside, its ends linear and narrow."""

    def __init__(self, channels: int, stage: StageShape, stride: int) -> None:
        super().__init__()
        wide = channels * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers += [*_convolution_and_norm(channels, wide, 1), nn.ReLU6(inplace=True)]
        layers += [*_convolution_and_norm(wide, wide, stage.kernel, stride=stride, groups=wide), nn.ReLU6(inplace=True)]
        layers += _convolution_and_norm(wide, stage.channels, 1)
        self.body = nn.Sequential(*layers)
        self.is_residual = stride == 1 and channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Transform B x C x H x W."""
        changed: Tensor = self.body(x)
        return x + changed if self.is_residual else changed


class EfficientNetLite0(PretrainedBackbone):
    """The maps of a 128 x 64 input are 64 x 32, 32 x 16, 16 x 8, and twice 8 x 4, the last one of the head.

    Of its 3.2 million weights those of the stages can start from ImageNet; `packages/efficientnet_lite0/ORIGIN.md`
    tells where these come from.
    """

    shipped = Path(str(resources.files("vestigo_models") / "packages" / "efficientnet_lite0"))

    channels = (*(STAGES[stage].channels for stage in MAPPED_STAGES), HEAD_CHANNELS)
    strides = (2, 4, 8, 16, 16)
    native_size = (128, 64)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution_and_norm(3, STEM_CHANNELS, 3, stride=2), nn.ReLU6(inplace=True))
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for stage in STAGES:
            blocks = []
            for block in range(stage.blocks):
                blocks.append(InvertedResidual(channels, stage, stage.stride if block == 0 else 1))
                channels = stage.channels
            self.stages.append(nn.Sequential(*blocks))
        self.head = nn.Sequential(*_convolution_and_norm(channels, HEAD_CHANNELS, 1), nn.ReLU6(inplace=True))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the five maps."""
        maps = []
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in MAPPED_STAGES:
                maps.append(x)
        return *maps, self.head(x)

    def finest_stages(self, count: int) -> list[nn.Module]:
        """Return the stem and the first `count` stages; nothing for 0."""
        return [self.stem, *self.stages[:count]] if count else []

    def load_imagenet(self, ref: str) -> None:
        """Load weights that `tools/efficientnet.py` has converted."""
        network = "an EfficientNet-Lite0, as `tools/efficientnet.py` writes them"
        load_weights(self, read_weights(ref), ref, network, optional=("head.",))


def _convolution_and_norm(channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution with the padding of TensorFlow, which at a stride of 2 is larger at the bottom and right."""
    layers: list[nn.Module] = []
    before = after = kernel // 2
    if stride == 2:
        # For even sizes: the outputs see kernel - 2 pixels beyond the input, the odd one of them at the end.
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
    if before != after:
        layers.append(nn.ZeroPad2d((before, after, before, after)))
        before = 0
    layers.append(nn.Conv2d(channels, out, kernel, stride=stride, padding=before, groups=groups, bias=False))
    return [*layers, nn.BatchNorm2d(out, eps=NORM_EPSILON)]
