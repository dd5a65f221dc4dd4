"""Attribute learning from regions, ALM (specification, section 6): pixels to regions, regions to attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vestigo_models.errors import ConfigError
from vestigo_models.schemas import AttributeSchema, RegionSchema

PoolNorm = Literal["none", "area"]

WHOLE, FOREGROUND = "global", "foreground"
"""What attributes can be read from besides single regions."""


class Pooled(NamedTuple):
    """Features of B people, pooled from F (B x C x H x W): `whole` and `foreground` B x C, `parts` B x (K-1) x C."""

    whole: Tensor
    foreground: Tensor
    parts: Tensor


def pool_regions(features: Tensor, probabilities: Tensor, norm: PoolNorm = "none") -> Pooled:
    """Global average pooling of F weighted by P, B x K x H x W with background first.

    Without `norm` the weights are not divided by their sum, so an absent part tends to zero, and the parts add up to
    the foreground; `area` divides by it.
    """
    flat = features.float().flatten(2)
    weights = probabilities.float().flatten(2)
    cells = flat.shape[2]
    whole = flat.mean(dim=2)
    parts = torch.einsum("bcx,bkx->bkc", flat, weights[:, 1:]) / cells
    foreground = parts.sum(dim=1)
    if norm == "area":
        area = weights[:, 1:].mean(dim=2)
        parts = parts / area.clamp(min=1e-6).unsqueeze(2)
        foreground = foreground / area.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return Pooled(whole, foreground, parts)


class AttributeHeads(nn.Module):
    """A softmax classifier for each attribute on the pooled features of the regions that it belongs to.

    Each head is BatchNorm1d, which takes up the scale that pooling leaves to an area, then Linear.

    Raises:
        ConfigError: an attribute without regions, or one of the schema's that `sources` does not name.
    """

    def __init__(
        self, schema: AttributeSchema, regions: RegionSchema, sources: Mapping[str, Sequence[str]], channels: int
    ) -> None:
        super().__init__()
        known = (WHOLE, FOREGROUND, *regions.names[1:])
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
        self.places = [[known.index(source) for source in sources[name]] for name in schema.names]
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(channels * len(places)), nn.Linear(channels * len(places), len(attribute.values))
            )
            for places, attribute in zip(self.places, schema.attributes, strict=True)
        )

    def forward(self, pooled: Pooled) -> Tensor:
        """Pooled features to logits, B x M in the order of the schema."""
        stack = torch.cat([pooled.whole[:, None], pooled.foreground[:, None], pooled.parts], dim=1)
        return torch.cat(
            [head(stack[:, places].flatten(1)) for head, places in zip(self.heads, self.places, strict=True)], dim=1
        )


MARKET_SOURCES: dict[str, tuple[str, ...]] = {
    "gender": (FOREGROUND,),
    "age": (FOREGROUND,),
    "hair": ("head",),
    "hat": ("head",),
    "sleeve": ("upper",),
    "upper_colour": ("upper",),
    "lower_length": ("lower",),
    "lower_type": ("lower",),
    "lower_colour": ("lower",),
    "backpack": ("belongings", "upper"),
    "bag": ("belongings", "upper"),
    "handbag": ("belongings", "upper"),
}
"""Where the attributes of Market-1501 are read. Carrying is labelled for an identity, and straps lie on the torso."""

DUKE_SOURCES: dict[str, tuple[str, ...]] = {
    "gender": (FOREGROUND,),
    "hat": ("head",),
    "upper_length": ("upper",),
    "upper_colour": ("upper",),
    "lower_colour": ("lower",),
    "shoe_colour": ("shoes",),
    "boots": ("shoes",),
    "backpack": ("belongings", "upper"),
    "bag": ("belongings", "upper"),
    "handbag": ("belongings", "upper"),
}
"""Where the attributes of DukeMTMC-reID are read."""
