"""Backbones on the implementations of transformers: ResNet-50 with last stride 1, and ConvNeXt.

See docs/method.md, section "Network", and Liu et al., "A ConvNet for the 2020s", CVPR 2022.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from vestigo_models.networks.backbones.base import Backbone
from vestigo_models.networks.weights import load_weights, read_weights

if TYPE_CHECKING:
    from transformers import ConvNextConfig, ResNetConfig

NORMS = "hidden_states_norms."
"""Normalisations of the maps of ConvNeXt; checkpoints of classifiers do not have them."""


class TransformersBackbone(Backbone):
    """A backbone of the transformers library; its maps are those of all stages."""

    native_size = (256, 128)

    def __init__(self, backbone_class: Any, config: Any) -> None:
        super().__init__()
        config.out_features = [f"stage{stage + 1}" for stage in range(len(config.depths or ()))]
        body: Any = backbone_class(config)
        self.body: nn.Module = body
        self.channels = tuple(config.hidden_sizes or ())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of B x 3 x H x W float, normalised."""
        maps: tuple[Tensor, ...] = self.body(x).feature_maps
        return maps


class ResNet50(TransformersBackbone):
    """C2 to C5; the maps of a 256 x 128 input are 64 x 32, 32 x 16, 16 x 8 and 16 x 8.

    `config` is for other depths and widths of the same family.
    """

    strides = (4, 8, 16, 16)

    def __init__(self, config: ResNetConfig | None = None) -> None:
        # Importing transformers takes longer than all other imports of a command that uses `tiny`.
        from transformers import ResNetBackbone, ResNetConfig

        super().__init__(ResNetBackbone, config or ResNetConfig())
        body: Any = self.body
        first = body.encoder.stages[-1].layers[0]
        for convolution in (*first.layer.modules(), *first.shortcut.modules()):
            if isinstance(convolution, nn.Conv2d):
                convolution.stride = (1, 1)

    def load_imagenet(self, ref: str) -> None:
        """Load ImageNet weights in Hugging Face or torchvision naming.

        Raises:
            ModelError: If there is no such file, folder or hub id, or its names or shapes differ.
        """
        tensors = to_backbone_names(read_weights(ref))
        load_weights(self.body, tensors, ref, "a ResNet-50 in Hugging Face or torchvision naming")


_TORCHVISION_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)$")


def to_backbone_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a ResNet checkpoint to those of `ResNetBackbone`; classifiers are dropped."""
    named = {}
    for key, value in state.items():
        if not key.startswith(("fc.", "classifier.", "module.fc.")):
            named[_backbone_name(key.removeprefix("module.").removeprefix("resnet."))] = value
    return named


def _backbone_name(key: str) -> str:
    if match := _TORCHVISION_BLOCK.match(key):
        stage, block, kind, number, leaf = match.groups()
        layer = f"encoder.stages.{int(stage) - 1}.layers.{block}"
        if kind == "downsample.":
            return f"{layer}.shortcut.{'convolution' if number == '0' else 'normalization'}.{leaf}"
        return f"{layer}.layer.{int(number) - 1}.{'convolution' if kind == 'conv' else 'normalization'}.{leaf}"
    if key.startswith("conv1."):
        return key.replace("conv1.", "embedder.embedder.convolution.", 1)
    if key.startswith("bn1."):
        return key.replace("bn1.", "embedder.embedder.normalization.", 1)
    return key


class ConvNext(TransformersBackbone):
    """ConvNeXt-Tiny; the maps of a 256 x 128 input are 64 x 32, 32 x 16, 16 x 8 and 8 x 4.

    `config` is for other depths and widths of the same family.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, config: ConvNextConfig | None = None) -> None:
        from transformers import ConvNextBackbone, ConvNextConfig

        super().__init__(
            ConvNextBackbone, config or ConvNextConfig(hidden_sizes=[96, 192, 384, 768], depths=[3, 3, 9, 3])
        )

    def load_imagenet(self, ref: str) -> None:
        """Load ImageNet weights of a classifier in Hugging Face naming.

        Raises:
            ModelError: If there is no such file, folder or hub id, or its names or shapes differ.
        """
        tensors = {key.removeprefix("convnext."): value for key, value in read_weights(ref).items()}
        body = {key: value for key, value in tensors.items() if not key.startswith(("classifier.", "layernorm."))}
        load_weights(self.body, body, ref, "a ConvNeXt-Tiny in Hugging Face naming", optional=(NORMS,))
