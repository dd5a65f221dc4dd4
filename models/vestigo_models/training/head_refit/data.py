"""What attribute heads are to learn: classes that people named, or distributions that a model gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from vestigo_models.attribute_filter.temperature import apply_temperatures
from vestigo_models.errors import ConfigError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import normalise, stack
from vestigo_models.networks.alm import AttributeHeads, PooledFeatures
from vestigo_models.networks.awm import attribute_log_softmax
from vestigo_models.networks.folding import fold_batch_norms
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.attributes import AttributeSchema

Floats = NDArray[np.float32]
REPLAY_SHARE = 0.3
"""What replayed crops weigh beside corrected ones; chosen on rendered people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """What is to be learnt of N crops.

    Attributes:
        probabilities: (N, M) float32, the distribution of each attribute's classes: one-hot for a class that somebody
            named, anything else for what a model thinks; all zeros for an attribute that nobody answered.
        noise: (N,) float32, how often a named class is wrong (fraction below 0.5): 0 for truth and for distributions.
        weight: (N,) float32, how many independent observations a crop counts for: crops of one person who was labelled
            once share 1.

    Raises:
        ValueError: lengths differ, a noise outside [0, 0.5), a negative weight or probability.
    """

    probabilities: Floats
    noise: Floats
    weight: Floats

    def __post_init__(self) -> None:
        if not len(self.probabilities) == len(self.noise) == len(self.weight):
            raise ValueError("probabilities, noise and weight must be equally long")
        if ((self.noise < 0) | (self.noise >= 0.5)).any():
            raise ValueError("noise must lie in [0, 0.5): a label that is wrong as often as right tells nothing")
        if (self.weight < 0).any() or (self.probabilities < 0).any():
            raise ValueError("weights and probabilities must not be negative")

    def __len__(self) -> int:
        return len(self.probabilities)

    @classmethod
    def of_labels(
        cls,
        labels: NDArray[np.int64],
        schema: AttributeSchema,
        *,
        noise: float = 0.0,
        weight: Floats | float = 1.0,
    ) -> Targets:
        """Targets of classes that were named: labels (N, n) int64, -1 where missing; `weight` (N,), or one for all."""
        probabilities = np.zeros((len(labels), schema.classes), dtype=np.float32)
        for position, name in enumerate(schema.names):
            known = np.flatnonzero(labels[:, position] >= 0)
            probabilities[known, schema.slice(name).start + labels[known, position]] = 1
        return cls._even(probabilities, noise, weight)

    @classmethod
    def of_predictions(cls, probabilities: Floats, *, weight: Floats | float = 1.0) -> Targets:
        """Targets of what a model thinks, (N, M), which has no noise: learning without forgetting (Li & Hoiem)."""
        return cls._even(probabilities, 0.0, weight)

    @classmethod
    def joined(cls, parts: Sequence[Targets]) -> Targets:
        """Targets of several lots of crops, one after the other; at least one."""
        return cls(
            probabilities=np.concatenate([part.probabilities for part in parts]),
            noise=np.concatenate([part.noise for part in parts]),
            weight=np.concatenate([part.weight for part in parts]),
        )

    def with_replay(self, replay: Targets, share: float = REPLAY_SHARE) -> Targets:
        """These targets, then those of crops that are replayed against forgetting.

        The replay's weights are scaled to `share` of what these weigh together.
        """
        total = replay.weight.sum(dtype=np.float64)
        factor = share * self.weight.sum(dtype=np.float64) / total if total else 0.0
        weight = (replay.weight * factor).astype(np.float32)
        scaled = Targets(probabilities=replay.probabilities, noise=replay.noise, weight=weight)
        return Targets.joined([self, scaled])

    def at(self, rows: slice | NDArray[np.int64]) -> Targets:
        """The targets of some of the crops."""
        return Targets(probabilities=self.probabilities[rows], noise=self.noise[rows], weight=self.weight[rows])

    def answered(self, schema: AttributeSchema) -> NDArray[np.bool_]:
        """Which attributes of which crops have a target: (N, n) bool."""
        return np.stack([self.probabilities[:, schema.slice(name)].any(axis=1) for name in schema.names], axis=1)

    def labels(self, schema: AttributeSchema, sure: float = 1.0) -> NDArray[np.int64]:
        """The likeliest class of each attribute where it is at least `sure`, -1 elsewhere: (N, n) int64."""
        groups = [self.probabilities[:, schema.slice(name)] for name in schema.names]
        return np.stack([np.where(g.max(axis=1) >= sure, g.argmax(axis=1), -1) for g in groups], axis=1)

    @classmethod
    def _even(cls, probabilities: Floats, noise: float, weight: Floats | float) -> Targets:
        count = len(probabilities)
        return cls(
            probabilities=probabilities.astype(np.float32),
            noise=np.full(count, noise, dtype=np.float32),
            weight=np.broadcast_to(np.asarray(weight, dtype=np.float32), count).copy(),
        )


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
    network = fold_batch_norms(package.network).to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    pooled = torch.stack([network.pool(view).stack().float() for view in views]).mean(dim=0)
    return pooled[: len(crops)].cpu().numpy()


@torch.inference_mode()
def predicted(package: ModelPackage, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Calibrated probabilities that a model gives crops of which `read_pooled` read this: N x M float32.

    Raises:
        ConfigError: the model predicts no attributes.
    """
    network, heads = heads_of(package)
    assert package.schema is not None
    logits = heads(PooledFeatures.unstack(torch.from_numpy(pooled)))
    plain = attribute_log_softmax(logits, package.schema)
    found = (plain if network.reweight is None else network.reweight(logits)).exp().numpy()
    if package.calibration is None:
        return np.asarray(found)
    return apply_temperatures(found, package.calibration.temperatures, package.schema)
