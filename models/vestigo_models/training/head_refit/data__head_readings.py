"""What the attribute heads of a frozen network read of crops, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from vestigo_models.attribute_filter.temperature import apply_temperatures
from vestigo_models.errors import ConfigError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import normalise, stack
from vestigo_models.networks.alm import AttributeHeads, Pooled
from vestigo_models.networks.awm import log_probabilities
from vestigo_models.networks.folding import folded
from vestigo_models.networks.semantic import SemanticNetwork


def heads_of(package: ModelPackage) -> tuple[SemanticNetwork, AttributeHeads]:
    """The network of a package and its attribute heads.

    Raises:
        ConfigError: the model predicts no attributes.
    """
    network = package.network
    if not isinstance(network, SemanticNetwork) or network.heads is None:
        raise ConfigError(
            f"model {package.name!r} predicts no attributes (network.attributes=none), so that no corrected label can"
            " teach it; give a model with attributes"
        )
    return network, network.heads


def read_pooled(
    package: ModelPackage,
    images: Iterable[NDArray[np.uint8]],
    device: str = "cpu",
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """What the heads read of RGB uint8 crops of any size (H x W x 3): N x (K+1) x C float32.

    Along the second axis whole, foreground and the K-1 parts; K = 1 without regions. The network works as `Extractor`
    has it, always on batches of one size. A model that looks at a crop and its mirror image gives the mean of both.
    Images are taken from `images` a batch at a time; `progress` is told how many are done.

    Raises:
        ConfigError: the model predicts no attributes.
    """
    heads_of(package)
    network = folded(package.network).to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    read: list[NDArray[np.float32]] = []
    done = 0
    coming = iter(images)
    while lot := tuple(islice(coming, batch_size)):
        read.append(_read(package, network, lot, device, batch_size))
        done += len(lot)
        if progress:
            progress(done)
    return np.concatenate(read or [_read(package, network, (), device, batch_size)])


@torch.inference_mode()
def _read(
    package: ModelPackage, network: SemanticNetwork, crops: tuple[NDArray[np.uint8], ...], device: str, batch_size: int
) -> NDArray[np.float32]:
    config = package.config
    pixels = np.zeros((batch_size, *config.input_size, 3), dtype=np.uint8)
    if crops:
        pixels[: len(crops)] = stack(crops, config.input_size)
    x = normalise(pixels, config.mean, config.std, device)
    views = [x, x.flip(3)] if config.flip_average else [x]
    pooled = torch.stack([network.pooled(view).stacked().float() for view in views]).mean(dim=0)
    return pooled[: len(crops)].cpu().numpy()


@torch.inference_mode()
def predicted(package: ModelPackage, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Calibrated probabilities that a model gives crops of which `read_pooled` read this: N x M float32.

    Raises:
        ConfigError: the model predicts no attributes.
    """
    network, heads = heads_of(package)
    assert package.schema is not None
    logits = heads(Pooled.of(torch.from_numpy(pooled)))
    plain = log_probabilities(logits, package.schema)
    found = (plain if network.reweight is None else network.reweight(logits)).exp().numpy()
    if package.calibration is None:
        return np.asarray(found)
    return apply_temperatures(found, package.calibration.temperatures, package.schema)
