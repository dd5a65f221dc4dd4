"""Refitting of attribute heads on the features of a frozen network; nothing else in a network changes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vestigo_models.arrays import BoolArray, Float32Array, Int64Array, UInt8Array
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.temperature import apply_temperatures
from vestigo_models.errors import ConfigError, DatasetError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import padded_input
from vestigo_models.networks.alm import AttributeHeads, PooledFeatures
from vestigo_models.networks.awm import attribute_log_softmax
from vestigo_models.networks.build import fold_batch_norms
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.losses import noisy_label_loss, noisy_log_probabilities

REPLAY_SHARE = 0.3
"""Weight of replayed crops as a fraction of that of annotated crops; chosen on rendered people."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeTargets:
    """Attribute targets of N crops.

    Raises:
        ValueError: If lengths differ, noise is outside [0, 0.5), or a weight or probability is negative.
    """

    # distribution over the classes of each attribute, (N, M): one-hot for a label, any other for a prediction of a
    # model, zeros without target
    probabilities: Float32Array
    noise: Float32Array  # error rate of the labels of each crop, (N,), in [0, 0.5); 0 for ground truth and predictions
    # number of independent observations that a crop counts as, (N,); the crops of one tracklet, annotated once, share 1
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
    ) -> Self:
        """Return the targets of labels (N, n), -1 if missing; `weight` is (N,) or one number for all."""
        probabilities = np.zeros((len(labels), schema.classes), dtype=np.float32)
        rows, positions = np.nonzero(labels >= 0)
        probabilities[rows, np.array(schema.offsets)[positions] + labels[rows, positions]] = 1
        return cls._broadcast(probabilities, noise, weight)

    @classmethod
    def from_predictions(cls, probabilities: Float32Array, *, weight: Float32Array | float = 1.0) -> Self:
        """Return the targets of a model's predictions (N, M), for learning without forgetting (Li and Hoiem, 2016)."""
        return cls._broadcast(probabilities, 0.0, weight)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the targets of all parts, at least one, in order."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def with_replay(self, replay: Self, share: float = REPLAY_SHARE) -> Self:
        """Return these targets followed by those of replayed crops, scaled to `share` of the total weight of these."""
        total = replay.weight.sum(dtype=np.float64)
        factor = share * self.weight.sum(dtype=np.float64) / total if total else 0.0
        scaled = replace(replay, weight=(replay.weight * factor).astype(np.float32))
        return self.concatenate([self, scaled])

    def select(self, rows: slice | Int64Array) -> Self:
        """Return the targets of some crops."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def has_target(self, schema: AttributeSchema) -> BoolArray:
        """Return which attributes of which crops have a target, (N, n)."""
        return np.stack([self.probabilities[:, classes].any(axis=1) for classes in schema.slices], axis=1)

    def labels(self, schema: AttributeSchema, min_probability: float = 1.0) -> Int64Array:
        """Return the most probable class of each attribute, (N, n); -1 below `min_probability`."""
        groups = [self.probabilities[:, classes] for classes in schema.slices]
        return np.stack([np.where(g.max(axis=1) >= min_probability, g.argmax(axis=1), -1) for g in groups], axis=1)

    @classmethod
    def _broadcast(cls, probabilities: Float32Array, noise: float, weight: Float32Array | float) -> Self:
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

    They are (N, K+1, C), of the whole image, the foreground and the K-1 parts; K = 1 without regions. Images are RGB
    uint8 crops of any size, (H, W, 3), consumed in batches. With `flip_average` of the package, features are the mean
    over a crop and its mirror image. `progress` is called with the number of finished crops and None.
    """
    attribute_heads(package)
    network = fold_batch_norms(package.network).to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = package.config

    @torch.inference_mode()
    def pool(crops: tuple[UInt8Array, ...]) -> Float32Array:
        x = padded_input(crops, config.input_size, batch_size, config.mean, config.std, device)
        views = [x, x.flip(3)] if config.flip_average else [x]
        pooled = torch.stack([network.pool(view).stack().float() for view in views]).mean(dim=0)
        return pooled[: len(crops)].cpu().numpy()

    pooled: list[Float32Array] = []
    remaining = iter(images)
    done = 0
    while batch := tuple(islice(remaining, batch_size)):
        pooled.append(pool(batch))
        done += len(batch)
        progress(done, None)
    return np.concatenate(pooled or [pool(())])


@torch.inference_mode()
def predict_attributes(package: ModelPackage, pooled: Float32Array) -> Float32Array:
    """Return calibrated probabilities (N, M) of crops from their pooled features, see `extract_pooled`."""
    network, heads, schema = attribute_heads(package)
    logits = heads(PooledFeatures.unstack(torch.from_numpy(pooled)))
    log_probabilities = attribute_log_softmax(logits, schema) if network.reweight is None else network.reweight(logits)
    temperatures = {} if package.calibration is None else package.calibration.temperatures
    return apply_temperatures(log_probabilities.exp().numpy(), temperatures, schema)


REFITTED = "; heads were refitted since, inside these temperatures"
"""Note in `Calibration.measured_on`."""
MIN_RELIABILITY = 0.01
PULL, STEPS = 200.0, 100
"""Defaults of `fit_heads`, chosen on rendered people."""


class TrainableHeads(nn.Module):
    """Attribute heads and AWM of a package in float64, for N crops, n attributes and M classes.

    The temperatures of the package are constant. `is_trained` tells which attributes have trainable heads, n bool.
    """

    def __init__(self, package: ModelPackage, is_trained: Tensor) -> None:
        super().__init__()
        network, heads, self.schema = attribute_heads(package)
        temperatures = {} if package.calibration is None else package.calibration.temperatures
        each = torch.tensor([temperatures.get(name, 1.0) for name in self.schema.names], dtype=torch.float64)
        self.temperatures = each.repeat_interleave(torch.tensor(self.schema.sizes))  # of each class, M
        self.heads = copy.deepcopy(heads).double().eval()
        self.reweight = None if network.reweight is None else copy.deepcopy(network.reweight).double()
        self.requires_grad_(True)
        for head, trainable in zip(self.heads.heads, is_trained.tolist(), strict=True):
            norm, linear = head.children()
            norm.requires_grad_(False)
            linear.requires_grad_(trainable)

    @torch.no_grad()
    def normalise(self, pooled: Float32Array) -> list[Tensor]:
        """Return the normalised input of each head, N x its channels, from pooled features (N, K+1, C)."""
        return self.heads.normalise(PooledFeatures.unstack(torch.from_numpy(pooled).double()))

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Return calibrated log-probabilities, N x M, from normalised inputs."""
        logits = self.heads.classify(inputs, 0.0)
        log_probabilities = logits if self.reweight is None else self.reweight(logits)
        return attribute_log_softmax(log_probabilities / self.temperatures, self.schema)

    def losses(self, inputs: list[Tensor], targets: Tensor, noise: Tensor) -> Tensor:
        """Return `noisy_label_loss` of each attribute, N x n, for targets N x M and noise N."""
        predicted = self(inputs)
        losses = [noisy_label_loss(predicted[:, g], targets[:, g], noise) for g in self.schema.slices]
        return torch.stack(losses, dim=1)

    @torch.no_grad()
    def label_losses(self, inputs: list[Tensor], targets: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of labels, N x n, and those that a calibrated model expects; both 0 without a label.

        The expected loss is the entropy of `noisy_log_probabilities`.
        """
        predicted = self(inputs)
        has_label = is_one_hot(targets, self.schema)
        noisy = [noisy_log_probabilities(predicted[:, g], noise) for g in self.schema.slices]
        entropies = torch.stack([-(each.exp() * each).sum(dim=1) for each in noisy], dim=1)
        return has_label * self.losses(inputs, targets, noise), has_label * entropies

    def squared_distances(self, start: TrainableHeads) -> Tensor:
        """Return the squared distance from `start` of the weights of each attribute in its head and in AWM, n."""
        distances = []
        for group, head, old in zip(self.schema.slices, self.heads.heads, start.heads.heads, strict=True):
            pairs: list[tuple[Tensor, Tensor]] = list(zip(head.parameters(), old.parameters(), strict=True))
            if self.reweight is not None and start.reweight is not None:
                both = zip(self.reweight.parameters(), start.reweight.parameters(), strict=True)
                pairs += [(new[group], base[group]) for new, base in both]
            distances.append(torch.stack([(new - base.detach()).square().sum() for new, base in pairs]).sum())
        return torch.stack(distances)


def is_one_hot(targets: Tensor, schema: AttributeSchema) -> Tensor:
    """Return which targets (N x M) are labels, N x n bool, and not predictions."""
    return torch.stack([targets[:, group].amax(dim=1) == 1 for group in schema.slices], dim=1)


def fit_heads(
    package: ModelPackage,
    pooled: Float32Array,
    targets: AttributeTargets,
    *,
    pull: float = PULL,
    steps: int = STEPS,
    class_weights: Float32Array | None = None,
    ranks: Ranks | None = None,
    trained_on: Mapping[str, Any] | None = None,
) -> ModelPackage:
    """Refit the attribute heads, and AWM if there is one, so that calibrated probabilities fit the targets.

    L-BFGS minimises the sum of `noisy_label_loss` over attributes and crops plus the quadratic pull, in float64 and
    without randomness (docs/method.md, "Forward correction"). Pull and predictions weigh less for an attribute whose
    labels have a larger loss than a calibrated base expects. So few labels hardly change a good head, and many replace
    a bad one.

    Temperatures are constant in the fit. Heads of attributes without targets keep their weights. Measurements of the
    previous heads (the filter, `judged`) are removed from the result; the base `package` is not changed.

    Targets are those of the N crops of the pooled features, (N, K+1, C), see `extract_pooled`. Half of `pull` times the
    squared distance of the weights from the previous ones is added to the sum of losses, like a Gaussian prior of this
    precision; `steps` is the largest number of steps. `class_weights`, (M,), are factors on the labels of each class,
    such as `vestigo_models.training.losses.class_weights` computes; None for 1. The workers in `ranks` give their own
    crops each, and all get the result. `trained_on` are facts added to those of the package.

    Raises:
        ConfigError: If the model predicts no attributes.
        DatasetError: If no crop has a target of positive weight.
        ValueError: If the targets have another shape.
    """
    ranks = ranks or Ranks()
    network, _, schema = attribute_heads(package)
    if targets.probabilities.shape != (len(pooled), schema.classes):
        raise ValueError(f"targets are {targets.probabilities.shape}, not {(len(pooled), schema.classes)}")
    has_target = torch.from_numpy(targets.has_target(schema) & (targets.weight > 0)[:, None])
    is_trained = ranks.sum(has_target.sum(dim=0)) > 0
    if not is_trained.any():
        raise DatasetError("no crop has an attribute label to learn from; annotate some attributes first")
    heads = TrainableHeads(package, is_trained)
    factors = np.ones(schema.classes, np.float32) if class_weights is None else class_weights
    _minimise(heads, pooled, targets, factors, pull, steps, ranks)
    calibration = package.calibration
    if calibration is not None and calibration.temperatures:
        measured_on = calibration.measured_on.removesuffix(REFITTED) + REFITTED
        calibration = Calibration(temperatures=calibration.temperatures, measured_on=measured_on)
    changes = {
        "trained_on": {**package.config.trained_on, **(trained_on or {})},
        "judged": {},
        "calibration": calibration.model_dump(mode="json") if calibration and calibration.temperatures else None,
    }
    return ModelPackage(package.config.model_copy(update=changes), _with_heads(network, heads.float()))


def replace_heads(package: ModelPackage, other: ModelPackage) -> ModelPackage:
    """Return `package` with heads, AWM, temperatures and name of `other`.

    Raises:
        ConfigError: If one of them predicts no attributes.
        ValueError: If their networks have different configurations.
    """
    if package.config.network != other.config.network:
        raise ValueError("heads can only replace those of a network of the same configuration")
    changes = {key: getattr(other.config, key) for key in ("name", "flip_average", "calibration")}
    network = _with_heads(attribute_heads(package)[0], attribute_heads(other)[0])
    return ModelPackage(package.config.model_copy(update=changes), network)


def _with_heads(network: SemanticNetwork, source: SemanticNetwork | TrainableHeads) -> SemanticNetwork:
    """Return a copy of a network with the weights of heads and AWM of another."""
    result = copy.deepcopy(network)
    for old, new in ((result.heads, source.heads), (result.reweight, source.reweight)):
        if old is not None and new is not None:
            old.load_state_dict(new.state_dict())
    return result


def _minimise(
    heads: TrainableHeads,
    pooled: Float32Array,
    targets: AttributeTargets,
    class_weights: Float32Array,
    pull: float,
    steps: int,
    ranks: Ranks,
) -> None:
    inputs = heads.normalise(pooled)
    probabilities, noise, weight = (
        torch.from_numpy(each).double() for each in (targets.probabilities, targets.noise, targets.weight)
    )
    groups = heads.schema.slices
    observations = float(ranks.sum(weight.sum()))
    reliability = _base_reliability(heads, inputs, probabilities, noise, weight, ranks)
    factors = torch.stack([probabilities[:, g] @ torch.from_numpy(class_weights[g]).double() for g in groups], dim=1)
    weights = weight[:, None] * torch.where(is_one_hot(probabilities, heads.schema), factors, reliability)
    pulls = pull * reliability
    start = copy.deepcopy(heads)
    parameters = [p for p in heads.parameters() if p.requires_grad]
    lbfgs = torch.optim.LBFGS(parameters, max_iter=steps, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = (weights * heads.losses(inputs, probabilities, noise)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in parameters if p.grad is not None]
        # One message with the sums of loss and gradients over all workers.
        flat = ranks.sum(torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)]))
        total, *parts = torch.split(flat, [1, *(p.numel() for p in parameters)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        penalty = (pulls / 2 * heads.squared_distances(start)).sum()
        penalty.backward()  # type: ignore[no-untyped-call]
        for gradient in gradients:
            gradient /= observations
        return (total[0] + penalty.detach()) / observations

    lbfgs.step(closure)  # type: ignore[no-untyped-call]


def _base_reliability(
    heads: TrainableHeads, inputs: list[Tensor], targets: Tensor, noise: Tensor, weight: Tensor, ranks: Ranks
) -> Tensor:
    """Return the squared ratio of expected to actual label loss of each attribute, `MIN_RELIABILITY` to 1, n."""
    sums = [(weight[:, None] * each).sum(dim=0) for each in heads.label_losses(inputs, targets, noise)]
    actual, expected = ranks.sum(torch.stack(sums))
    return torch.where(actual > expected, expected / actual, 1.0).square().clamp(min=MIN_RELIABILITY)
