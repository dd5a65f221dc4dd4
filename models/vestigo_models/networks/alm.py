"""Attribute learning from regions (ALM; docs/method.md, section "ALM")."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.errors import ConfigError
from vestigo_models.networks.config import PoolNorm
from vestigo_models.networks.feature_map import FeatureMap
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import FOREGROUND, GLOBAL


class PooledFeatures(NamedTuple):
    """Features of B crops, pooled from F."""

    whole: Tensor  # F_global, B x C
    foreground: Tensor  # F_foreground, B x C
    parts: Tensor  # F_part,k, B x (K-1) x C

    def stack(self) -> Tensor:
        """Return all features as one tensor, B x (K+1) x C."""
        return torch.cat([self.whole[:, None], self.foreground[:, None], self.parts], dim=1)

    @classmethod
    def unstack(cls, stacked: Tensor) -> Self:
        """Split what `stack` returned."""
        return cls(stacked[:, 0], stacked[:, 1], stacked[:, 2:])


def pool_regions(features: FeatureMap, probabilities: Tensor, norm: PoolNorm = "none") -> PooledFeatures:
    """Pool F with the region probabilities P, B x K x H x W and background first, as weights.

    With the norm `none` weights are not divided by their sum, so an absent part tends to zero and the parts add up to
    the foreground; `area` divides by the sum.
    """
    regions = features.pool(probabilities)
    whole, parts = regions.sum(dim=1), regions[:, 1:]
    foreground = parts.sum(dim=1)
    if norm == "area":
        area = probabilities[:, 1:].float().mean(dim=(2, 3))
        parts = parts / area.clamp(min=1e-6).unsqueeze(2)
        foreground = foreground / area.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return PooledFeatures(whole, foreground, parts)


class AttributeHeads(nn.Module):
    """A softmax classifier for each attribute on the concatenated pooled features of its regions.

    Each head is BatchNorm1d, which removes the scale that pooling leaves, and Linear; in training the share `dropout`
    of its input is dropped. `sources` has the regions of each attribute: names of `parts`, which are the regions
    1..K-1, `global` or `foreground`.

    Raises:
        ConfigError: If an attribute has no regions, or a region or attribute in `sources` is unknown.
    """

    def __init__(
        self,
        schema: AttributeSchema,
        parts: Sequence[str],
        sources: Mapping[str, Sequence[str]],
        channels: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        known = (GLOBAL, FOREGROUND, *parts)
        mistakes = [f"{name}: no region" for name in schema.names if not sources.get(name)]
        mistakes += [f"{name}: no such attribute" for name in sources if name not in schema.names]
        for name, regions in sources.items():
            unknown = [region for region in regions if region not in known]
            mistakes += [f"{name}: no region {region!r} (known: {', '.join(known)})" for region in unknown]
        if mistakes:
            raise ConfigError(f"attr_regions: {'; '.join(mistakes)}")
        self.schema, self.dropout = schema, dropout
        self.positions = [[known.index(region) for region in sources[name]] for name in schema.names]
        widths = [channels * len(positions) for positions in self.positions]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, size))
            for width, size in zip(widths, schema.sizes, strict=True)
        )

    def forward(self, pooled: PooledFeatures) -> Tensor:
        """Return logits, B x M in the order of the schema."""
        return self.classify(self.normalise(pooled), self.dropout)

    def normalise(self, pooled: PooledFeatures) -> list[Tensor]:
        """Return the normalised input of each head, B x (C times its number of regions)."""
        stacked = pooled.stack()
        norms = (next(head.children()) for head in self.heads)
        return [norm(stacked[:, positions].flatten(1)) for norm, positions in zip(norms, self.positions, strict=True)]

    def classify(self, inputs: list[Tensor], dropout: float) -> Tensor:
        """Return logits, B x M, from the normalised inputs; in training, `dropout` is the share that is dropped."""
        logits = []
        for head, values in zip(self.heads, inputs, strict=True):
            _, linear = head.children()
            logits.append(linear(functional.dropout(values, dropout, self.training)))
        return torch.cat(logits, dim=1)


def attribute_regions(
    schema: AttributeSchema, overrides: Mapping[str, Sequence[str]] | None
) -> dict[str, Sequence[str]]:
    """Return the regions that each attribute is read from: those of `overrides`, else those of the schema."""
    return {attribute.name: attribute.regions for attribute in schema.attributes} | dict(overrides or {})
