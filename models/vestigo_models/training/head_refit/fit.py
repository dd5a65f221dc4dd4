"""Attribute heads refitted on what a frozen network reads: corrected labels become a new model in seconds.

Nothing else of an embedding changes than the attribute scores in it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.errors import DatasetError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.alm import PooledFeatures
from vestigo_models.networks.awm import attribute_log_softmax
from vestigo_models.training.distributed import Alone, Ranks
from vestigo_models.training.head_refit.data import Targets, heads_of
from vestigo_models.training.losses import noisy_label_loss, noisy_log_probabilities


class HeadLearner(nn.Module):
    """The heads of a package and its AWM in float64. Symbols: N crops, n attributes, M classes.

    Args:
        package: where they come from; its temperatures stay as they are.
        learns: n bool; the heads of the other attributes are fixed.
    """

    def __init__(self, package: ModelPackage, learns: Tensor) -> None:
        super().__init__()
        network, heads = heads_of(package)
        assert package.schema is not None
        self.groups = [package.schema.slice(name) for name in package.schema.names]
        self.schema = package.schema
        self.temperatures = _temperatures(package)
        self.heads = copy.deepcopy(heads).double().eval()
        self.reweight = None if network.reweight is None else copy.deepcopy(network.reweight).double()
        self.requires_grad_(True)
        for head, told in zip(self.heads.heads, learns.tolist(), strict=True):
            norm, linear = head.children()
            norm.requires_grad_(False)
            linear.requires_grad_(told)

    def read(self, pooled: NDArray[np.float32]) -> list[Tensor]:
        """What each head reads in N x (K+1) x C pooled features: N x its channels."""
        with torch.no_grad():
            return self.heads.normalise(PooledFeatures.unstack(torch.from_numpy(pooled).double()))

    def forward(self, read: list[Tensor]) -> Tensor:
        """Calibrated log-probabilities, N x M."""
        logits = self.heads.classify(read, 0.0)
        found = logits if self.reweight is None else self.reweight(logits)
        return attribute_log_softmax(found / self.temperatures, self.schema)

    def losses(self, read: list[Tensor], targets: Tensor, noise: Tensor) -> Tensor:
        """`noisy_label_loss` of each attribute, N x n; targets N x M, noise N."""
        found = self(read)
        return torch.stack([noisy_label_loss(found[:, g], targets[:, g], noise) for g in self.groups], dim=1)

    @torch.no_grad()
    def surprises(self, read: list[Tensor], targets: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """How surprised the heads are by what is named, N x n, and how surprised they expect to be, if they are right
        about how sure they are: the entropy of `noisy_log_probabilities`. Both are 0 where nobody named a class."""
        found = self(read)
        by_name = named(targets, self.groups)
        expected = [noisy_log_probabilities(found[:, g], noise) for g in self.groups]
        entropies = torch.stack([-(each.exp() * each).sum(dim=1) for each in expected], dim=1)
        return by_name * self.losses(read, targets, noise), by_name * entropies

    def moved(self, start: HeadLearner) -> Tensor:
        """Squared distance from `start` of the weights of each attribute, in its head and in AWM: n."""
        found = []
        for group, head, old in zip(self.groups, self.heads.heads, start.heads.heads, strict=True):
            pairs: list[tuple[Tensor, Tensor]] = list(zip(head.parameters(), old.parameters(), strict=True))
            if self.reweight is not None and start.reweight is not None:
                both = zip(self.reweight.parameters(), start.reweight.parameters(), strict=True)
                pairs += [(new[group], base[group]) for new, base in both]
            found.append(torch.stack([(new - base.detach()).square().sum() for new, base in pairs]).sum())
        return torch.stack(found)


def named(targets: Tensor, groups: list[slice]) -> Tensor:
    """Where a target names one class for certain: N x M targets to N x n bool."""
    return torch.stack([targets[:, group].amax(dim=1) == 1 for group in groups], dim=1)


def _temperatures(package: ModelPackage) -> Tensor:
    """The temperature of each class, M float64."""
    assert package.schema is not None
    found = {} if package.calibration is None else package.calibration.temperatures
    counts = [len(attribute.values) for attribute in package.schema.attributes]
    each = [found.get(name, 1.0) for name in package.schema.names]
    return torch.tensor(each, dtype=torch.float64).repeat_interleave(torch.tensor(counts))


LEAST_TRUST = 0.01
REFITTED = "; heads were refitted since, inside these temperatures"


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """How heads are refitted; the defaults were chosen on rendered people.

    Attributes:
        pull: strength of the pull towards the weights that the heads had: half of it times their squared distance
            stands beside the sum of the losses of all observations, like a Gaussian prior of that precision.
        steps: at most so many steps of L-BFGS.
    """

    pull: float = 200.0
    steps: int = 100


def fit_heads(
    package: ModelPackage,
    pooled: NDArray[np.float32],
    targets: Targets,
    config: HeadConfig | None = None,
    ranks: Ranks | None = None,
    *,
    trained_on: Mapping[str, Any] | None = None,
) -> ModelPackage:
    """Refit the heads, and AWM where the network has it, so that calibrated probabilities fit the targets.

    `noisy_label_loss` of every attribute of every crop is summed, and L-BFGS goes from the weights that the package
    has, in float64 and without chance. An attribute whose named classes surprise the base more than a calibrated model
    expects is trusted less: its weights are pulled back less, and distributions, which are the base's own opinion,
    weigh less there. So a few corrections cannot spoil a sound head, and many can replace a broken one.

    Temperatures stay, inside the fit: what is fitted is what the package will say, so no labels need to be held out
    for them. Heads of attributes without any target keep their weights. What was measured with the old heads (the
    filter, `judged`) is dropped.

    Args:
        package: the base; it is left as it is.
        pooled: (N, K+1, C) float32, from `read_pooled`.
        targets: of the same N crops.
        ranks: the workers that share the crops; each gives its own share of `pooled` and `targets`, all get the result.
        trained_on: facts for the package, beside those that it has.

    Raises:
        ConfigError: the model predicts no attributes.
        DatasetError: no attribute of any crop has a target that weighs anything.
        ValueError: targets of other crops or other attributes.
    """
    config, ranks = config or HeadConfig(), ranks or Alone()
    network, _ = heads_of(package)
    schema = package.schema
    assert schema is not None
    if targets.probabilities.shape != (len(pooled), schema.classes):
        raise ValueError(f"targets are {targets.probabilities.shape}, not {(len(pooled), schema.classes)}")
    told = torch.from_numpy(targets.answered(schema) & (targets.weight > 0)[:, None])
    told = ranks.total(told.sum(dim=0)) > 0
    if not told.any():
        raise DatasetError("no crop has an attribute label to learn from; correct or label some attributes first")
    learner = HeadLearner(package, told)
    _minimise(learner, pooled, targets, config, ranks)
    challenger = copy.deepcopy(network)
    for old, new in ((challenger.heads, learner.heads), (challenger.reweight, learner.reweight)):
        if old is not None and new is not None:
            old.load_state_dict(new.float().state_dict())
    facts = {
        "trained_on": {**package.config.trained_on, **(trained_on or {})},
        "judged": {},
        "calibration": _kept(package.calibration),
    }
    return ModelPackage(package.config.model_copy(update=facts), challenger)


def with_heads(package: ModelPackage, other: ModelPackage) -> ModelPackage:
    """The network of `package` with the heads, AWM, temperatures and name of `other`, which is of the same make.

    Raises:
        ConfigError: one of them predicts no attributes.
        ValueError: their networks differ.
    """
    if package.config.network != other.config.network:
        raise ValueError("heads go from one network to another of the same configuration only")
    (network, _), (theirs, _) = heads_of(package), heads_of(other)
    network = copy.deepcopy(network)
    for old, new in ((network.heads, theirs.heads), (network.reweight, theirs.reweight)):
        if old is not None and new is not None:
            old.load_state_dict(new.state_dict())
    kept = {key: getattr(other.config, key) for key in ("name", "flip_average", "calibration")}
    return ModelPackage(package.config.model_copy(update=kept), network)


def _minimise(
    learner: HeadLearner, pooled: NDArray[np.float32], targets: Targets, config: HeadConfig, ranks: Ranks
) -> None:
    read = learner.read(pooled)
    wanted, noise, weight = (
        torch.from_numpy(each).double() for each in (targets.probabilities, targets.noise, targets.weight)
    )
    observations = float(ranks.total(weight.sum()))
    trusted = _trust(learner, read, wanted, noise, weight, ranks)
    weights = weight[:, None] * torch.where(named(wanted, learner.groups), 1.0, trusted)
    pull = config.pull * trusted
    start = copy.deepcopy(learner)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    lbfgs = torch.optim.LBFGS(parameters, max_iter=config.steps, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = (weights * learner.losses(read, wanted, noise)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in parameters if p.grad is not None]
        # One message: the sum over all workers' crops, of the loss and of its gradients.
        flat = ranks.total(torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)]))
        total, *parts = torch.split(flat, [1, *(p.numel() for p in parameters)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        pulled = (pull / 2 * learner.moved(start)).sum()
        pulled.backward()  # type: ignore[no-untyped-call]
        for gradient in gradients:
            gradient /= observations
        return (total[0] + pulled.detach()) / observations

    lbfgs.step(closure)  # type: ignore[no-untyped-call]


def _trust(
    learner: HeadLearner, read: list[Tensor], targets: Tensor, noise: Tensor, weight: Tensor, ranks: Ranks
) -> Tensor:
    """How far the base is trusted on each attribute, n, from `LEAST_TRUST` to 1.

    The square of expected over actual surprise by the classes that people named; 1 where nothing is named.
    """
    sums = [(weight[:, None] * each).sum(dim=0) for each in learner.surprises(read, targets, noise)]
    actual, expected = ranks.total(torch.stack(sums))
    return torch.where(actual > expected, expected / actual, 1.0).square().clamp(min=LEAST_TRUST)


def _kept(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None or not calibration.temperatures:
        return None
    measured_on = calibration.measured_on.removesuffix(REFITTED) + REFITTED
    return Calibration(temperatures=calibration.temperatures, measured_on=measured_on).model_dump(mode="json")
