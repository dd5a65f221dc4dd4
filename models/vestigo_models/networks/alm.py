"""Attribute learning from regions, ALM (specification, section 6): pixels to regions, regions to attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.errors import ConfigError
from vestigo_models.networks.feature_map import FeatureMap
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import FOREGROUND, GLOBAL

PoolNorm = Literal["none", "area"]


class Pooled(NamedTuple):
    """Features of B people, pooled from F (B x C x H x W): `whole` and `foreground` B x C, `parts` B x (K-1) x C."""

    whole: Tensor
    foreground: Tensor
    parts: Tensor

    def stacked(self) -> Tensor:
        """Whole, foreground and parts as one B x (K+1) x C."""
        return torch.cat([self.whole[:, None], self.foreground[:, None], self.parts], dim=1)

    @classmethod
    def of(cls, stacked: Tensor) -> Pooled:
        """The opposite of `stacked`."""
        return cls(stacked[:, 0], stacked[:, 1], stacked[:, 2:])


def pool_regions(features: FeatureMap, probabilities: Tensor, norm: PoolNorm = "none") -> Pooled:
    """Global average pooling of F weighted by P, B x K x H x W with background first; P adds up to 1 over K.

    Without `norm` the weights are not divided by their sum, so an absent part tends to zero, and the parts add up to
    the foreground; `area` divides by it.
    """
    every = features.pooled(probabilities)
    whole, parts = every.sum(dim=1), every[:, 1:]
    foreground = parts.sum(dim=1)
    if norm == "area":
        area = probabilities[:, 1:].float().mean(dim=(2, 3))
        parts = parts / area.clamp(min=1e-6).unsqueeze(2)
        foreground = foreground / area.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return Pooled(whole, foreground, parts)


class AttributeHeads(nn.Module):
    """A softmax classifier for each attribute on the pooled features of the regions that it belongs to.

    `parts` are the names of the regions 1..K-1. Each head is BatchNorm1d, which takes up the scale that pooling leaves
    to an area, then Linear. While training, `dropout` of what a head reads is hidden from it.

    Raises:
        ConfigError: an attribute without regions, or one of the schema's that `sources` does not name.
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
        mistakes += [
            f"{name}: no region {source!r} (known: {', '.join(known)})"
            for name, wanted in sources.items()
            for source in wanted
            if source not in known
        ]
        if mistakes:
            raise ConfigError(f"attr_regions: {'; '.join(mistakes)}")
        self.dropout = dropout
        self.places = [[known.index(source) for source in sources[name]] for name in schema.names]
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(channels * len(places)), nn.Linear(channels * len(places), len(attribute.values))
            )
            for places, attribute in zip(self.places, schema.attributes, strict=True)
        )

    def forward(self, pooled: Pooled) -> Tensor:
        """Pooled features to logits, B x M in the order of the schema."""
        return self.say(self.read(pooled), self.dropout)

    def read(self, pooled: Pooled) -> list[Tensor]:
        """What each head reads, normalised: B x its channels."""
        stack = pooled.stacked()
        norms = (next(head.children()) for head in self.heads)
        return [norm(stack[:, places].flatten(1)) for norm, places in zip(norms, self.places, strict=True)]

    def say(self, read: list[Tensor], dropout: float) -> Tensor:
        """Logits, B x M, from what the heads have read; while training, `dropout` of it is hidden."""
        logits = []
        for head, each in zip(self.heads, read, strict=True):
            _, linear = head.children()
            logits.append(linear(functional.dropout(each, dropout, self.training)))
        return torch.cat(logits, dim=1)


def attribute_regions(
    schema: AttributeSchema, overrides: Mapping[str, Sequence[str]] | None
) -> dict[str, Sequence[str]]:
    """Return the regions that each attribute is read from: those of `overrides`, else those of the schema."""
    return {attribute.name: attribute.regions for attribute in schema.attributes} | dict(overrides or {})
