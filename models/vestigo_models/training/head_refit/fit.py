"""Refitting of attribute heads on the features of a frozen network; nothing else in a network changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vestigo_models.arrays import Float32Array
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.errors import DatasetError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.alm import PooledFeatures, attribute_log_softmax
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.head_refit.data import AttributeTargets, attribute_heads
from vestigo_models.training.losses import noisy_label_loss, noisy_log_probabilities

REFITTED = "; heads were refitted since, inside these temperatures"
"""Note in `Calibration.measured_on`."""
MIN_RELIABILITY = 0.01
PULL, STEPS = 200.0, 100
"""Defaults of `fit_heads`, chosen on rendered people."""


class TrainableHeads(nn.Module):
    """Attribute heads and AWM of a package in float64, for N crops, n attributes and M classes.

    Args:
        package: The model; its temperatures are constant.
        is_trained: Which attributes have trainable heads, n bool.
    """

    def __init__(self, package: ModelPackage, is_trained: Tensor) -> None:
        super().__init__()
        network, heads, self.schema = attribute_heads(package)
        self.groups = [self.schema.slice(name) for name in self.schema.names]
        self.temperatures = _temperatures(package, self.schema)
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
        return torch.stack([noisy_label_loss(predicted[:, g], targets[:, g], noise) for g in self.groups], dim=1)

    @torch.no_grad()
    def label_losses(self, inputs: list[Tensor], targets: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of labels, N x n, and those that a calibrated model expects; both 0 without a label.

        The expected loss is the entropy of `noisy_log_probabilities`.
        """
        predicted = self(inputs)
        has_label = is_one_hot(targets, self.groups)
        noisy = [noisy_log_probabilities(predicted[:, g], noise) for g in self.groups]
        entropies = torch.stack([-(each.exp() * each).sum(dim=1) for each in noisy], dim=1)
        return has_label * self.losses(inputs, targets, noise), has_label * entropies

    def squared_distances(self, start: TrainableHeads) -> Tensor:
        """Return the squared distance from `start` of the weights of each attribute in its head and in AWM, n."""
        distances = []
        for group, head, old in zip(self.groups, self.heads.heads, start.heads.heads, strict=True):
            pairs: list[tuple[Tensor, Tensor]] = list(zip(head.parameters(), old.parameters(), strict=True))
            if self.reweight is not None and start.reweight is not None:
                both = zip(self.reweight.parameters(), start.reweight.parameters(), strict=True)
                pairs += [(new[group], base[group]) for new, base in both]
            distances.append(torch.stack([(new - base.detach()).square().sum() for new, base in pairs]).sum())
        return torch.stack(distances)


def is_one_hot(targets: Tensor, groups: list[slice]) -> Tensor:
    """Return which targets (N x M) are labels, N x n bool, and not predictions."""
    return torch.stack([targets[:, group].amax(dim=1) == 1 for group in groups], dim=1)


def _temperatures(package: ModelPackage, schema: AttributeSchema) -> Tensor:
    """Return the temperature of each class, M float64."""
    temperatures = {} if package.calibration is None else package.calibration.temperatures
    counts = torch.tensor([len(attribute.values) for attribute in schema.attributes])
    values = [temperatures.get(name, 1.0) for name in schema.names]
    return torch.tensor(values, dtype=torch.float64).repeat_interleave(counts)


def fit_heads(
    package: ModelPackage,
    pooled: Float32Array,
    targets: AttributeTargets,
    *,
    pull: float = PULL,
    steps: int = STEPS,
    ranks: Ranks | None = None,
    trained_on: Mapping[str, Any] | None = None,
) -> ModelPackage:
    """Refit the attribute heads, and AWM if there is one, so that calibrated probabilities fit the targets.

    L-BFGS minimises the sum of `noisy_label_loss` over attributes and crops plus the quadratic pull, in float64 and
    without randomness (docs/method.md, "Forward correction"). Pull and predictions weigh less for an attribute whose
    labels have a larger loss than a calibrated base expects. So few labels hardly change a good head, and many replace
    a bad one.

    Temperatures are constant in the fit. Heads of attributes without targets keep their weights. Measurements of the
    previous heads (the filter, `judged`) are removed.

    Args:
        package: The base, which is not changed.
        pooled: Pooled features of N crops, (N, K+1, C), see `extract_pooled`.
        targets: Targets of the same crops.
        pull: Strength of the quadratic pull towards the previous weights: half of it times their squared distance is
            added to the sum of losses, like a Gaussian prior of this precision.
        steps: Largest number of steps of L-BFGS.
        ranks: The workers that share the crops; each gives its own crops, and all get the result.
        trained_on: Facts added to those of the package.

    Returns:
        The package with refitted heads.

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
    _minimise(heads, pooled, targets, pull, steps, ranks)
    candidate = copy.deepcopy(network)
    for old, new in ((candidate.heads, heads.heads), (candidate.reweight, heads.reweight)):
        if old is not None and new is not None:
            old.load_state_dict(new.float().state_dict())
    changes = {
        "trained_on": {**package.config.trained_on, **(trained_on or {})},
        "judged": {},
        "calibration": _without_measurements(package.calibration),
    }
    return ModelPackage(package.config.model_copy(update=changes), candidate)


def replace_heads(package: ModelPackage, other: ModelPackage) -> ModelPackage:
    """Return `package` with heads, AWM, temperatures and name of `other`.

    Raises:
        ConfigError: If one of them predicts no attributes.
        ValueError: If their networks have different configurations.
    """
    if package.config.network != other.config.network:
        raise ValueError("heads can only replace those of a network of the same configuration")
    network, source = copy.deepcopy(attribute_heads(package)[0]), attribute_heads(other)[0]
    for old, new in ((network.heads, source.heads), (network.reweight, source.reweight)):
        if old is not None and new is not None:
            old.load_state_dict(new.state_dict())
    changes = {key: getattr(other.config, key) for key in ("name", "flip_average", "calibration")}
    return ModelPackage(package.config.model_copy(update=changes), network)


def _minimise(
    heads: TrainableHeads, pooled: Float32Array, targets: AttributeTargets, pull: float, steps: int, ranks: Ranks
) -> None:
    inputs = heads.normalise(pooled)
    probabilities, noise, weight = (
        torch.from_numpy(each).double() for each in (targets.probabilities, targets.noise, targets.weight)
    )
    observations = float(ranks.sum(weight.sum()))
    reliability = _base_reliability(heads, inputs, probabilities, noise, weight, ranks)
    weights = weight[:, None] * torch.where(is_one_hot(probabilities, heads.groups), 1.0, reliability)
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


def _without_measurements(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None or not calibration.temperatures:
        return None
    measured_on = calibration.measured_on.removesuffix(REFITTED) + REFITTED
    return Calibration(temperatures=calibration.temperatures, measured_on=measured_on).model_dump(mode="json")
