"""The small parser that ships with Vestigo, and packages of `vestigo train-parser`.

A package is a folder with `model.safetensors` and `config.json`.
"""

import copy
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import ConfigError, ModelError, first_line
from vestigo_models.inference.preprocessing import padded_input
from vestigo_models.networks.backbones import HalfInstanceNorm, convolution_and_norm
from vestigo_models.networks.config import InputSize
from vestigo_models.networks.weights import CONFIG, WEIGHTS, read_config, read_weights, weights_digest, write_package
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.label_maps import ParserLabels, merge
from vestigo_models.schemas.regions import REGIONS
from vestigo_models.strict_model import StrictModel

STRIDE = 16
"""Stride of the deepest map; input sides are multiples of it."""
WIDTHS = (24, 48, 80, 128)
"""Channels at strides 2, 4, 8 and 16."""


class Residual(nn.Module):
    """Two 3x3 convolutions around the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = convolution(channels, channels, 3)
        self.two = nn.Sequential(*convolution_and_norm(channels, channels, 3))

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
        """Return logits, see the class."""
        fine = self.stem(x)
        one = self.stage1(fine)
        two = self.stage2(one)
        deep = self.stage3(two)
        deep = deep + self.context(deep.mean(dim=(2, 3), keepdim=True))
        two = self.join2(two + upsample(self.lateral3(deep)))
        one = self.join1(one + upsample(self.lateral2(two)))
        logits: Tensor = self.head(self.join0(fine + upsample(self.lateral1(one))))
        return logits


def upsample(x: Tensor) -> Tensor:
    """Return B x C x H x W as B x C x 2H x 2W."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def convolution(channels: int, out: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Return a convolution that divides the size by `stride`, batch normalisation and ReLU."""
    return nn.Sequential(*convolution_and_norm(channels, out, kernel, stride=stride), nn.ReLU(inplace=True))


DEFAULT_PACKAGE = "parser"
CLASSES = REGIONS.names[:-1]
"""Classes of the shipped parser: all regions but belongings, as in LIP."""
OUTPUT_SETTINGS = {"format_version", "input_size", "classes"}
"""Keys of the configuration that results depend on."""
CPU_BATCH, GPU_BATCH = 1, 32
"""On one core a batch of 8 takes a fifth less time per crop, and four times as much for a single crop."""


class ParserConfig(StrictModel):
    """`config.json` of a parser package."""

    format_version: Literal[1] = Field(default=1, description="version of this file")
    name: str = Field(default="parser", description="name of the parser")
    input_size: InputSize = Field(default=(128, 64), description="height and width in pixels, multiples of 16")
    classes: tuple[str, ...] = Field(default=CLASSES, description="names of the classes by id")
    trained_on: dict[str, Any] = Field(default={}, description="data and command")
    judged: dict[str, Any] = Field(default={}, description="measurements and their data")

    @field_validator("input_size")
    @classmethod
    def _divisible(cls, size: tuple[int, int]) -> tuple[int, int]:
        if min(size) < STRIDE or any(side % STRIDE for side in size):
            raise ValueError(f"height and width are multiples of {STRIDE}")
        return size


class EmbeddedParser(Parser):
    """The small network as a parser. Batches are padded to one size, so that results do not depend on other crops.

    The network is copied, and the copy's weights are rounded to float16 as in a package.
    """

    def __init__(
        self, config: ParserConfig, network: ParserNetwork, *, device: str = "cpu", batch_size: int | None = None
    ) -> None:
        self.config = config
        self.label_set = ParserLabels.named(config.name, config.classes)
        rounded = copy.deepcopy(network).cpu().half().float().eval().requires_grad_(False)
        facts = {"algorithm": "embedded-parser-1", **config.model_dump(mode="json", include=OUTPUT_SETTINGS)}
        self.digest = weights_digest(facts, rounded.state_dict())
        self._network = rounded.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._batch_size = batch_size or (CPU_BATCH if torch.device(device).type == "cpu" else GPU_BATCH)

    @classmethod
    def from_pretrained(cls, ref: str | Path, *, device: str = "cpu", batch_size: int | None = None) -> Self:
        """Load `default`, which ships with Vestigo, or a folder of `save_pretrained` or `vestigo train-parser`.

        Raises:
            ModelError: If there is no such package, or weights and configuration do not match.
        """
        shipped = Path(str(resources.files("vestigo_models") / "packages" / DEFAULT_PACKAGE))
        folder = shipped if str(ref) == "default" else Path(ref)
        if not (folder / CONFIG).is_file():
            raise ModelError(
                f"parser {str(folder)!r}: no folder with {CONFIG} and {WEIGHTS}; give one of `vestigo train-parser`"
            )
        config = read_config(folder, ParserConfig, "parser")
        network = ParserNetwork(len(config.classes))
        state = read_weights(str(folder / WEIGHTS))
        try:
            network.load_state_dict(state)
            return cls(config, network, device=device, batch_size=batch_size)
        except RuntimeError as error:
            raise ModelError(
                f"{folder / WEIGHTS} is not for the parser of its {CONFIG} ({first_line(error)}); train it again"
            ) from None
        except ConfigError as error:
            raise ModelError(f"{folder / CONFIG}: {error}") from None

    def trainable(self) -> ParserNetwork:
        """Return a trainable copy of the network."""
        network: ParserNetwork = copy.deepcopy(self._network)
        return network.requires_grad_(True)

    def save_pretrained(self, folder: Path) -> None:
        """Write the package with weights in float16."""
        write_package(folder, self.config, self._network.state_dict(), half=True)

    def parse(self, image: UInt8Array, _name: str) -> Parsed:
        """Parse one image, see `Parser.parse`."""
        return self.parse_many([image])[0]

    @torch.inference_mode()
    def parse_many(self, images: Sequence[UInt8Array], _names: Sequence[str] = ()) -> list[Parsed]:
        """Parse RGB uint8 crops of any size (h, w, 3) in batches; each result equals that of `parse` bit for bit."""
        results: list[Parsed] = []
        for start in range(0, len(images), self._batch_size):
            batch = images[start : start + self._batch_size]
            # Padded, since kernels depend on the size of the batch.
            x = padded_input(batch, self.config.input_size, self._batch_size, device=self._device)
            for logits, image in zip(self._network(x).float().cpu().contiguous(), batch, strict=False):
                full = functional.interpolate(logits[None], image.shape[:2], mode="bilinear", align_corners=False)[0]
                labels = full.argmax(dim=0).numpy().astype(np.uint8)
                probabilities = logits.softmax(dim=0).permute(1, 2, 0).contiguous().numpy()
                results.append(Parsed(labels=labels, regions=merge(probabilities, self.label_set)))
        return results
