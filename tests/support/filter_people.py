"""People for tests of the filter: identities with attributes, and predictions of them that err."""

from __future__ import annotations

import numpy as np

from vestigo_models.attribute_filter.curve import IdentifiedCrops
from vestigo_models.schemas.attributes import AttributeSchema


def people(
    schema: AttributeSchema, identities: int, crops: int, seed: int, *, certainty: float = 2.5, cameras: int = 3
) -> IdentifiedCrops:
    """`crops` of each identity in turn, on random cameras; errors are partly those of the identity."""
    rng = np.random.default_rng(seed)
    pids = np.tile(np.arange(1, identities + 1), crops)
    groups = []
    for attribute in schema.attributes:
        values = len(attribute.values)
        scores = rng.normal(size=(identities, values))[pids - 1] * 0.7 + rng.normal(size=(len(pids), values)) * 0.7
        scores[np.arange(len(pids)), rng.integers(0, values, identities)[pids - 1]] += certainty
        posterior = np.exp(certainty * (scores - scores.max(axis=1, keepdims=True)))
        groups.append(posterior / posterior.sum(axis=1, keepdims=True))
    return IdentifiedCrops(
        pids=pids,
        camids=rng.integers(0, cameras, len(pids)),
        probabilities=np.concatenate(groups, axis=1).astype(np.float32),
    )
