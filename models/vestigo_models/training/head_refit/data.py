"""Targets of attribute heads, and the pooled features that heads classify."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from vestigo_models.arrays import BoolArray, Float32Array, Int64Array, UInt8Array
from vestigo_models.attribute_filter.temperature import apply_temperatures
from vestigo_models.errors import ConfigError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import padded_input
from vestigo_models.networks.alm import AttributeHeads, PooledFeatures, attribute_log_softmax
from vestigo_models.networks.build import fold_batch_norms
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema

REPLAY_SHARE = 0.3
"""Weight of replayed crops as a fraction of that of annotated crops; chosen on rendered people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeTargets:
    """Attribute targets of N crops.

    Attributes:
        probabilities: Distribution over the classes of each attribute, (N, M): one-hot for a label, any other for a
            prediction of a model, zeros without target.
        noise: Error rate of the labels of each crop, (N,), in [0, 0.5); 0 for ground truth and predictions.
        weight: Number of independent observations that a crop counts as, (N,). The crops of one tracklet, which was
            annotated once, share 1.

    Raises:
        ValueError: If lengths differ, noise is outside [0, 0.5), or a weight or probability is negative.
    """

    probabilities: Float32Array
    noise: Float32Array
    weight: Float32Array

    def __post_init__(self) -> None:
        if not len(self.probabilities) == len(self.noise) == len(self.weight):
            raise ValueError("probabilities, noise and weight must be equally long")
        if ((self.noise < 0) | (self.noise >= 0.5)).any():
            raise ValueError("noise must be in [0, 0.5)")
        if (self.weight < 0).any() or (self.probabilities < 0).any():
            raise ValueError("weights and probabilities must not be negative")

    def __len__(self) -> int:
        return len(self.probabilities)

    @classmethod
    def from_labels(
        cls, labels: Int64Array, schema: AttributeSchema, *, noise: float = 0.0, weight: Float32Array | float = 1.0
    ) -> AttributeTargets:
        """Return the targets of labels (N, n), -1 if missing; `weight` is (N,) or one number for all."""
        probabilities = np.zeros((len(labels), schema.classes), dtype=np.float32)
        for position, name in enumerate(schema.names):
            known = np.flatnonzero(labels[:, position] >= 0)
            probabilities[known, schema.slice(name).start + labels[known, position]] = 1
        return cls._broadcast(probabilities, noise, weight)

    @classmethod
    def from_predictions(cls, probabilities: Float32Array, *, weight: Float32Array | float = 1.0) -> AttributeTargets:
        """Return the targets of a model's predictions (N, M), for learning without forgetting (Li and Hoiem, 2016)."""
        return cls._broadcast(probabilities, 0.0, weight)

    @classmethod
    def concatenate(cls, parts: Sequence[AttributeTargets]) -> AttributeTargets:
        """Return the targets of all parts, at least one, in order."""
        return cls(
            probabilities=np.concatenate([part.probabilities for part in parts]),
            noise=np.concatenate([part.noise for part in parts]),
            weight=np.concatenate([part.weight for part in parts]),
        )

    def with_replay(self, replay: AttributeTargets, share: float = REPLAY_SHARE) -> AttributeTargets:
        """Return these targets followed by those of replayed crops, scaled to `share` of the total weight of these."""
        total = replay.weight.sum(dtype=np.float64)
        factor = share * self.weight.sum(dtype=np.float64) / total if total else 0.0
        weight = (replay.weight * factor).astype(np.float32)
        scaled = AttributeTargets(probabilities=replay.probabilities, noise=replay.noise, weight=weight)
        return AttributeTargets.concatenate([self, scaled])

    def select(self, rows: slice | Int64Array) -> AttributeTargets:
        """Return the targets of some crops."""
        return AttributeTargets(
            probabilities=self.probabilities[rows], noise=self.noise[rows], weight=self.weight[rows]
        )

    def has_target(self, schema: AttributeSchema) -> BoolArray:
        """Return which attributes of which crops have a target, (N, n)."""
        return np.stack([self.probabilities[:, schema.slice(name)].any(axis=1) for name in schema.names], axis=1)

    def labels(self, schema: AttributeSchema, min_probability: float = 1.0) -> Int64Array:
        """Return the most probable class of each attribute, (N, n); -1 below `min_probability`."""
        groups = [self.probabilities[:, schema.slice(name)] for name in schema.names]
        return np.stack([np.where(g.max(axis=1) >= min_probability, g.argmax(axis=1), -1) for g in groups], axis=1)

    @classmethod
    def _broadcast(cls, probabilities: Float32Array, noise: float, weight: Float32Array | float) -> AttributeTargets:
        count = len(probabilities)
        return cls(
            probabilities=probabilities.astype(np.float32),
            noise=np.full(count, noise, dtype=np.float32),
            weight=np.broadcast_to(np.asarray(weight, dtype=np.float32), count).copy(),
        )


def attribute_heads(package: ModelPackage) -> tuple[SemanticNetwork, AttributeHeads, AttributeSchema]:
    """Return the network of a package, its attribute heads and their schema.

    Raises:
        ConfigError: If the model predicts no attributes.
    """
    network = package.network
    if not isinstance(network, SemanticNetwork) or network.heads is None or package.schema is None:
        raise ConfigError(
            f"model {package.name!r} predicts no attributes (network.attributes=none), so it cannot learn from labels;"
            " give a model with attributes"
        )
    return network, network.heads, package.schema


def extract_pooled(
    package: ModelPackage,
    images: Iterable[UInt8Array],
    device: str = "cpu",
    batch_size: int = 64,
    progress: ProgressCallback = ignore_progress,
) -> Float32Array:
    """Compute the pooled features that attribute heads classify, in padded batches of one size.

    Images are RGB uint8 crops of any size, (H, W, 3), consumed in batches. With `flip_average` of the package, features
    are the mean over a crop and its mirror image. `progress` is called with the number of finished crops and None.

    Returns:
        Features (N, K+1, C) of the whole image, the foreground and the K-1 parts; K = 1 without regions.
    """
    attribute_heads(package)
    network = fold_batch_norms(package.network).to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    pooled: list[Float32Array] = []
    done = 0
    remaining = iter(images)
    while batch := tuple(islice(remaining, batch_size)):
        pooled.append(_pool_batch(package, network, batch, device, batch_size))
        done += len(batch)
        progress(done, None)
    return np.concatenate(pooled or [_pool_batch(package, network, (), device, batch_size)])


@torch.inference_mode()
def _pool_batch(
    package: ModelPackage, network: SemanticNetwork, crops: tuple[UInt8Array, ...], device: str, batch_size: int
) -> Float32Array:
    config = package.config
    x = padded_input(crops, config.input_size, batch_size, config.mean, config.std, device)
    views = [x, x.flip(3)] if config.flip_average else [x]
    pooled = torch.stack([network.pool(view).stack().float() for view in views]).mean(dim=0)
    return pooled[: len(crops)].cpu().numpy()


@torch.inference_mode()
def predict_attributes(package: ModelPackage, pooled: Float32Array) -> Float32Array:
    """Return calibrated probabilities (N, M) of crops from their pooled features, see `extract_pooled`."""
    network, heads, schema = attribute_heads(package)
    logits = heads(PooledFeatures.unstack(torch.from_numpy(pooled)))
    plain = attribute_log_softmax(logits, schema)
    probabilities = (plain if network.reweight is None else network.reweight(logits)).exp().numpy()
    if package.calibration is None:
        return np.asarray(probabilities)
    return apply_temperatures(probabilities, package.calibration.temperatures, schema)
