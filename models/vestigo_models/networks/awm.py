"""Attribute re-weighting (AWM): attribute scores that correct one another (docs/method.md, section "AWM")."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.schemas.attributes import AttributeSchema


class Reweighting(nn.Module):
    """Weigh the scores of each class by the scores of all attributes.

    c = sigmoid(V p + b), and p-hat is proportional to c * p within each attribute of M classes in total. V and b
    (`correlate`) start at zero, where p-hat = p and gradients are not zero.
    """

    def __init__(self, schema: AttributeSchema) -> None:
        super().__init__()
        self.schema = schema
        self.correlate = nn.Linear(schema.classes, schema.classes)
        nn.init.zeros_(self.correlate.weight)
        nn.init.zeros_(self.correlate.bias)

    def forward(self, logits: Tensor) -> Tensor:
        """Return log p-hat of the logits of p, both B x M; at least float32."""
        # Autocast would multiply by V in half precision.
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            scores = attribute_log_softmax(logits, self.schema).exp()
            weights = functional.logsigmoid(self.correlate(scores))
            return attribute_log_softmax(logits + weights, self.schema)


def attribute_log_softmax(logits: Tensor, schema: AttributeSchema) -> Tensor:
    """Compute the log softmax within each attribute, B x M to B x M."""
    return torch.cat([functional.log_softmax(logits[:, group], dim=1) for group in schema.slices], dim=1)
