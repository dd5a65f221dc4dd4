"""ConvNeXt on transformers' implementation, for those who are not tied to the paper's network.

Liu et al., "A ConvNet for the 2020s", CVPR 2022.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from vestigo_models.networks.backbones.base import Backbone
from vestigo_models.networks.weights import fit_weights, read_weights

if TYPE_CHECKING:
    from transformers import ConvNextConfig

NORMS = "hidden_states_norms."
"""The normalisations of the maps, which classifiers do not have: they start fresh."""


class ConvNext(Backbone):
    """ConvNeXt-Tiny; for a 256 x 128 input maps of 64x32, 32x16, 16x8 and 8x4. `config` exists for other sizes."""

    native_size = (256, 128)
    strides = (4, 8, 16, 32)

    def __init__(self, config: ConvNextConfig | None = None) -> None:
        from transformers import ConvNextBackbone, ConvNextConfig

        super().__init__()
        config = config or ConvNextConfig(hidden_sizes=[96, 192, 384, 768], depths=[3, 3, 9, 3])
        config.out_features = [f"stage{stage + 1}" for stage in range(len(config.depths or ()))]
        body: Any = ConvNextBackbone(config)
        self.body: nn.Module = body
        self.channels = tuple(config.hidden_sizes or ())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See `Backbone.forward`."""
        maps: tuple[Tensor, ...] = self.body(x).feature_maps
        return maps

    def load_imagenet(self, ref: str) -> None:
        """Load pretrained weights of a classifier from a hub id, a folder or a file, in Hugging Face naming.

        Raises:
            ModelError: there is no such file, or its keys or shapes are not those of this network.
        """
        found = {key.removeprefix("convnext."): value for key, value in read_weights(ref).items()}
        body = {key: value for key, value in found.items() if not key.startswith(("classifier.", "layernorm."))}
        fit_weights(self.body, body, ref, "a ConvNeXt-Tiny in Hugging Face naming", fresh=(NORMS,))
