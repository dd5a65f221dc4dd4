"""Attribute heads and AWM while they are refitted."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.alm import Pooled
from vestigo_models.networks.awm import log_probabilities
from vestigo_models.training.head_refit.data__head_readings import heads_of
from vestigo_models.training.losses import heard, noisy_label_loss


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
            return self.heads.read(Pooled.of(torch.from_numpy(pooled).double()))

    def forward(self, read: list[Tensor]) -> Tensor:
        """Calibrated log-probabilities, N x M."""
        logits = self.heads.say(read, 0.0)
        found = logits if self.reweight is None else self.reweight(logits)
        return log_probabilities(found / self.temperatures, self.schema)

    def losses(self, read: list[Tensor], targets: Tensor, noise: Tensor) -> Tensor:
        """`noisy_label_loss` of each attribute, N x n; targets N x M, noise N."""
        found = self(read)
        return torch.stack([noisy_label_loss(found[:, g], targets[:, g], noise) for g in self.groups], dim=1)

    @torch.no_grad()
    def surprises(self, read: list[Tensor], targets: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """How surprised the heads are by what is named, N x n, and how surprised they expect to be, if they are right
        about how sure they are: the entropy of what would be `heard`. Both are 0 where nobody named a class."""
        found = self(read)
        by_name = named(targets, self.groups)
        expected = [heard(found[:, g], noise) for g in self.groups]
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
