"""Backbones: `tiny`, `small`, and ResNet-50 with last stride 1 and ConvNeXt from the transformers library."""

from __future__ import annotations

import re
from abc import ABC
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.networks.config import BackboneName
from vestigo_models.networks.efficientnet import EfficientNetLite0
from vestigo_models.networks.outputs import Backbone, PretrainedBackbone
from vestigo_models.networks.weights import load_weights, read_weights

if TYPE_CHECKING:
    from transformers import ConvNextConfig, ResNetConfig


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
            *convolution_and_norm(channels, middle, 1),
            nn.ReLU(inplace=True),
            *convolution_and_norm(middle, middle, 3),
            nn.ReLU(inplace=True),
            *convolution_and_norm(middle, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform B x C x H x W."""
        return functional.relu(x + self.body(x))


class Tiny(Backbone):
    """A small residual network for CPUs; the maps of a 128 x 64 input are 64 x 32, 32 x 16, 16 x 8 and 8 x 4.

    It has the bottlenecks of ResNet-50 at a fraction of its width. The two shallow stages end in instance normalisation
    of half of their channels (after IBN-Net; Pan et al., ECCV 2018), which removes a camera's colour and contrast from
    that half, for use in another domain. The stem has no pooling, so its stride-2 map is available to the neck.
    """

    channels = (16, 48, 96, 256)
    strides = (2, 4, 8, 16)
    native_size = (128, 64)

    def __init__(self) -> None:
        super().__init__()
        stem, first, second, third = self.channels
        self.stem = nn.Sequential(*convolution_and_norm(3, stem, 3, stride=2), nn.ReLU(inplace=True))
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


def convolution_and_norm(channels: int, out: int, kernel: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """Return a convolution without bias, which divides the size by `stride`, and batch normalisation."""
    convolution = nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out)


def _stage(channels: int, out: int, *, middle: int, blocks: int, last: nn.Module) -> nn.Sequential:
    down = (*convolution_and_norm(channels, out, 3, stride=2), nn.ReLU(inplace=True))
    return nn.Sequential(*down, *(Bottleneck(out, middle) for _ in range(blocks)), last)


class TransformersBackbone(PretrainedBackbone, ABC):
    """A backbone of the transformers library; its maps are those of all stages.

    The argument `config` of its subclasses is for other depths and widths of the same family.
    """

    native_size = (256, 128)
    checkpoint: str  # what `load_imagenet` reads, in error messages

    def __init__(self, backbone_class: Any, config: Any) -> None:
        super().__init__()
        config.out_features = [f"stage{stage + 1}" for stage in range(len(config.depths or ()))]
        self.body = backbone_class(config)
        self.channels = tuple(config.hidden_sizes or ())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of B x 3 x H x W float, normalised."""
        maps: tuple[Tensor, ...] = self.body(x).feature_maps
        return maps

    def load_imagenet(self, ref: str) -> None:
        """Load ImageNet weights, in Hugging Face or, of a ResNet, torchvision naming.

        Raises:
            ModelError: If there is no such file, folder or hub id, or its names or shapes differ.
        """
        load_weights(self.body, to_backbone_names(read_weights(ref)), ref, self.checkpoint, optional=(NORMS,))


class ResNet50(TransformersBackbone):
    """C2 to C5; the maps of a 256 x 128 input are 64 x 32, 32 x 16, 16 x 8 and 16 x 8."""

    strides = (4, 8, 16, 16)
    checkpoint = "a ResNet-50 in Hugging Face or torchvision naming"

    def __init__(self, config: ResNetConfig | None = None) -> None:
        # Importing transformers takes longer than all other imports of a command that uses `tiny`.
        from transformers import ResNetBackbone, ResNetConfig

        super().__init__(ResNetBackbone, config or ResNetConfig())
        first = self.body.encoder.stages[-1].layers[0]
        for convolution in (*first.layer.modules(), *first.shortcut.modules()):
            if isinstance(convolution, nn.Conv2d):
                convolution.stride = (1, 1)


class ConvNext(TransformersBackbone):
    """ConvNeXt-Tiny (Liu et al., CVPR 2022); the maps of a 256 x 128 input are 64 x 32, 32 x 16, 16 x 8 and 8 x 4."""

    strides = (4, 8, 16, 32)
    checkpoint = "a ConvNeXt-Tiny in Hugging Face naming"

    def __init__(self, config: ConvNextConfig | None = None) -> None:
        from transformers import ConvNextBackbone, ConvNextConfig

        tiny = ConvNextConfig(hidden_sizes=[96, 192, 384, 768], depths=[3, 3, 9, 3])
        super().__init__(ConvNextBackbone, config or tiny)


BACKBONES: dict[BackboneName, type[ResNet50] | type[ConvNext] | type[EfficientNetLite0] | type[Tiny]] = {
    "resnet50": ResNet50,
    "convnext": ConvNext,
    "small": EfficientNetLite0,
    "tiny": Tiny,
}
NORMS = "hidden_states_norms."
"""Normalisations of the maps of ConvNeXt; checkpoints of classifiers do not have them."""
_PREFIX = re.compile(r"(module\.)?(resnet\.|convnext\.)?")
_TORCHVISION_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)$")


def to_backbone_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a checkpoint to those of the backbone; classifiers are dropped."""
    named = {_PREFIX.sub("", key, count=1): value for key, value in state.items()}
    classifiers = ("fc.", "classifier.", "layernorm.")
    return {_backbone_name(key): value for key, value in named.items() if not key.startswith(classifiers)}


def _backbone_name(key: str) -> str:
    if match := _TORCHVISION_BLOCK.match(key):
        stage, block, kind, number, leaf = match.groups()
        layer = f"encoder.stages.{int(stage) - 1}.layers.{block}"
        if kind == "downsample.":
            return f"{layer}.shortcut.{'convolution' if number == '0' else 'normalization'}.{leaf}"
        return f"{layer}.layer.{int(number) - 1}.{'convolution' if kind == 'conv' else 'normalization'}.{leaf}"
    key = re.sub(r"^conv1\.", "embedder.embedder.convolution.", key)
    return re.sub(r"^bn1\.", "embedder.embedder.normalization.", key)
