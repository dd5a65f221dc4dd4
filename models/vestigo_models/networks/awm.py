"""Attributes that correct one another, AWM (specification, section 7)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.schemas.attributes import AttributeSchema


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
