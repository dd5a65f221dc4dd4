"""ResNet-50 with last stride 1 (docs/method.md, section "Network"), on the implementation of transformers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from vestigo_models.networks.backbones.base import TransformersBackbone
from vestigo_models.networks.weights import load_weights, read_weights

if TYPE_CHECKING:
    from transformers import ResNetConfig


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
