"""ConvNeXt (Liu et al., "A ConvNet for the 2020s", CVPR 2022), on the implementation of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vestigo_models.networks.backbones.base import TransformersBackbone
from vestigo_models.networks.weights import load_weights, read_weights

if TYPE_CHECKING:
    from transformers import ConvNextConfig

NORMS = "hidden_states_norms."
"""Normalisations of the maps; checkpoints of classifiers do not have them."""


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
