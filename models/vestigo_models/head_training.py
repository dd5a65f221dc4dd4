"""Attribute heads refitted on what a frozen network reads: corrected labels become a new model in seconds.

Embeddings hardly change: only the attribute scores in them do.
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

from vestigo_models.errors import DatasetError
from vestigo_models.filter_record import Calibration
from vestigo_models.head_readings import heads_of, predicted, read_pooled
from vestigo_models.head_targets import Targets
from vestigo_models.losses import noisy_label_loss
from vestigo_models.networks.alm import AttributeHeads, Pooled
from vestigo_models.networks.awm import Reweighting, log_probabilities
from vestigo_models.package import ModelPackage
from vestigo_models.ranks import Alone, Ranks
from vestigo_models.schemas import AttributeSchema

__all__ = ["HeadConfig", "Targets", "fit_heads", "predicted", "read_pooled"]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """How heads are refitted.

    Attributes:
        pull: strength of the pull towards the weights that the heads had: half of it times the squared distance stands
            beside the sum of the losses of all observations, as a Gaussian prior of that precision would.
        steps: at most so many steps of L-BFGS.
    """

    pull: float = 1.0
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

    The loss of an observation is `noisy_label_loss`, summed over its attributes; L-BFGS goes from the weights that the
    package has, in float64 and without chance. Temperatures stay, inside the fit: what is fitted is what the package
    will say, and it stays as calibrated as its targets are. Heads of attributes without any target keep their
    weights; what was measured with the old heads (the filter, `judged`) is dropped.

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
    network, heads = heads_of(package)
    schema = package.schema
    assert schema is not None
    if targets.probabilities.shape != (len(pooled), schema.classes):
        raise ValueError(f"targets are {targets.probabilities.shape}, not {(len(pooled), schema.classes)}")
    told = torch.from_numpy(targets.answered(schema) * (targets.weight > 0)[:, None]).sum(dim=0)
    told = ranks.total(told)
    if not told.any():
        raise DatasetError("no crop has an attribute label to learn from; correct or label some attributes first")
    learner = _Learner(heads, network.reweight, schema, _temperatures(package), told > 0)
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


class _Learner(nn.Module):
    """Heads and AWM in float64; those of attributes that are told nothing are fixed."""

    def __init__(
        self,
        heads: AttributeHeads,
        reweight: Reweighting | None,
        schema: AttributeSchema,
        temperatures: Tensor,
        told: Tensor,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.temperatures = temperatures
        self.heads = copy.deepcopy(heads).double().eval().requires_grad_(False)
        self.reweight = None if reweight is None else copy.deepcopy(reweight).double().requires_grad_(True)
        for head, learns in zip(self.heads.heads, told.tolist(), strict=True):
            _, linear = head.children()
            linear.requires_grad_(learns)

    def read(self, pooled: NDArray[np.float32]) -> list[Tensor]:
        """What each head reads, N x its channels float64."""
        return self.heads.read(Pooled.of(torch.from_numpy(pooled).double()))

    def loss(self, read: list[Tensor], targets: Tensor, noise: Tensor, weight: Tensor) -> Tensor:
        """The weighted sum of the losses of all observations."""
        logits = self.heads.say(read, 0.0)
        found = logits if self.reweight is None else self.reweight(logits)
        found = log_probabilities(found / self.temperatures, self.schema)
        groups = [self.schema.slice(name) for name in self.schema.names]
        losses = [noisy_label_loss(found[:, group], targets[:, group], noise) for group in groups]
        return (weight * torch.stack(losses).sum(dim=0)).sum()


def _minimise(
    learner: _Learner, pooled: NDArray[np.float32], targets: Targets, config: HeadConfig, ranks: Ranks
) -> None:
    read = learner.read(pooled)
    wanted, noise, weight = (
        torch.from_numpy(each).double() for each in (targets.probabilities, targets.noise, targets.weight)
    )
    observations = float(ranks.total(weight.sum()))
    parameters = [p for p in learner.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in parameters]
    lbfgs = torch.optim.LBFGS(parameters, max_iter=config.steps, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = learner.loss(read, wanted, noise, weight)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in parameters if p.grad is not None]
        # One message: the sum over all workers' crops, of the loss and of its gradients.
        flat = ranks.total(torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)]))
        total, *parts = torch.split(flat, [1, *(p.numel() for p in parameters)])
        moved = [p.detach() - old for p, old in zip(parameters, start, strict=True)]
        for gradient, part, away in zip(gradients, parts, moved, strict=True):
            gradient.copy_((part.view_as(gradient) + config.pull * away) / observations)
        pulled = config.pull / 2 * torch.stack([away.square().sum() for away in moved]).sum()
        return (total[0] + pulled) / observations

    lbfgs.step(closure)  # type: ignore[no-untyped-call]


def _temperatures(package: ModelPackage) -> Tensor:
    """The temperature of each class, M float64."""
    assert package.schema is not None
    found = {} if package.calibration is None else package.calibration.temperatures
    counts = [len(attribute.values) for attribute in package.schema.attributes]
    each = [found.get(name, 1.0) for name in package.schema.names]
    return torch.tensor(each, dtype=torch.float64).repeat_interleave(torch.tensor(counts))


def _kept(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None or not calibration.temperatures:
        return None
    measured_on = f"{calibration.measured_on}; heads were refitted since, inside these temperatures"
    return Calibration(temperatures=calibration.temperatures, measured_on=measured_on).model_dump(mode="json")
