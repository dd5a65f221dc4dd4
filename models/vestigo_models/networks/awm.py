"""Attributes that correct one another, AWM (specification, section 7)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.training.losses import heard


class Reweighting(nn.Module):
    """Class scores weighted by what the scores of all attributes say of each other.

    c = sigmoid(V p + b), and each attribute's classes share c * p anew, so that they are probabilities again. V starts
    at zero, where nothing changes and gradients already reach it.
    """

    def __init__(self, schema: AttributeSchema) -> None:
        super().__init__()
        self.schema = schema
        self.correlate = nn.Linear(schema.classes, schema.classes)
        nn.init.zeros_(self.correlate.weight)
        nn.init.zeros_(self.correlate.bias)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits B x M to log p-hat, B x M, float32 at least; each attribute's probabilities add up to 1."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = log_probabilities(logits, self.schema).exp()
        weights = functional.logsigmoid(self.correlate(scores))
        return log_probabilities(logits + weights, self.schema)


def log_probabilities(logits: Tensor, schema: AttributeSchema) -> Tensor:
    """log softmax within each attribute: B x M to B x M."""
    groups = torch.split(logits, [len(attribute.values) for attribute in schema.attributes], dim=1)
    return torch.cat([functional.log_softmax(group, dim=1) for group in groups], dim=1)


def attribute_loss(
    log_probabilities: Tensor,
    labels: Tensor,
    schema: AttributeSchema,
    weights: Tensor | None = None,
    noise: float = 0.0,
) -> Tensor:
    """Equations 18 and 19: cross-entropy, the mean over labelled images, summed over attributes.

    log_probabilities: B x M; labels: B x n int64, -1 where missing; weights: M factors on the images of each class, 1
    in the paper; noise: share of the labels that are wrong, see `losses.heard`, 0 in the paper. An attribute that no
    image has a label for adds nothing.
    """
    total = log_probabilities.new_zeros(())
    for position, name in enumerate(schema.names):
        known = labels[:, position] >= 0
        if known.any():
            group = log_probabilities[known][:, schema.slice(name)]
            group = heard(group, noise) if noise else group
            some = None if weights is None else weights[schema.slice(name)]
            total = total + functional.nll_loss(group, labels[known, position], some)
    return total


def class_weights(labels: NDArray[np.int64], schema: AttributeSchema, balance: float) -> NDArray[np.float32]:
    """Factors on the images of each class, M: its share of N images to the power of -`balance`.

    labels: N x n, -1 where missing. The factors of an attribute average 1 over the labelled images; 0 for a class that
    does not occur. `balance` 0 leaves every image alike (the paper), 1 makes all classes weigh the same.
    """
    factors = np.zeros(schema.classes, dtype=np.float32)
    for position, attribute in enumerate(schema.attributes):
        known = labels[labels[:, position] >= 0, position]
        if len(known):
            shares = np.bincount(known, minlength=len(attribute.values)) / len(known)
            powers = np.where(shares > 0, np.maximum(shares, 1e-12) ** -balance, 0)
            factors[schema.slice(attribute.name)] = powers / (powers * shares).sum()
    return factors
