"""The network of the specification: regions, features of regions, attributes read from regions, attributes re-weighted.

backbone ── neck ── F ─┬─ pixel classifier ── P ── regions pooled from F ─┬─ part, foreground, global features
                       │                                                  └─ attribute heads ── p ── AWM ── p-hat
                       └─ the global feature may come from the backbone's last map instead        [global ; p-hat]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vestigo_models.networks.alm import AttributeHeads, Pooled, PoolNorm, pool_regions
from vestigo_models.networks.awm import Reweighting, log_probabilities
from vestigo_models.networks.backbones.base import Backbone
from vestigo_models.networks.feature_map import FeatureMap, PixelClassifier
from vestigo_models.networks.neck import ConcatNeck, JoinedNeck, PyramidNeck, SpatialAttention
from vestigo_models.networks.outputs import GLOBAL_ATTRIBUTES, PART, BNNeck, NetworkOutput, ReidNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import FOREGROUND, GLOBAL


class SemanticNetwork(ReidNetwork):
    """F and what is read from it; every part but the neck may be left out (specification, sections 3, 6, 7 and 8).

    Args:
        backbone: where the maps come from.
        neck: what makes F of them.
        attention: whether F goes through spatial attention.
        regions: K, background included; 0 for a network without regions.
        heads: attribute heads on regions, None for a network without attributes.
        schema: the attributes of the heads.
        reweighted: whether AWM corrects the attributes.
        awm_dropout: None, and heads and AWM learn as one (the paper). Or the share of what the heads read that is
            hidden while AWM learns from them; they hear nothing of AWM then.
        global_from_last: whether the global feature is the pooled last map of the backbone instead of pooled F.
        pool_norm: see `pool_regions`.
        detach_masks: whether gradients of features stop at P.
        attribute_scale: factor on p-hat beside the global feature.
        identities: training identities, 0 for inference.
    """

    def __init__(
        self,
        backbone: Backbone,
        neck: ConcatNeck | JoinedNeck | PyramidNeck,
        *,
        attention: bool,
        regions: int,
        heads: AttributeHeads | None,
        schema: AttributeSchema | None,
        reweighted: bool,
        awm_dropout: float | None,
        global_from_last: bool,
        pool_norm: PoolNorm,
        detach_masks: bool,
        attribute_scale: float,
        identities: int,
    ) -> None:
        super().__init__()
        channels = sum(neck.channels)
        self.backbone = backbone
        self.neck = neck
        self.attention = SpatialAttention(neck.channels) if attention else None
        self.classify = PixelClassifier(neck.channels, regions) if regions else None
        self.heads = heads
        self.schema = schema
        self.reweight = Reweighting(schema) if reweighted and schema is not None else None
        self.awm_dropout = awm_dropout
        self.global_from_last = global_from_last
        self.pool_norm: PoolNorm = pool_norm
        self.detach_masks = detach_masks
        self.attribute_scale = attribute_scale
        dims = {GLOBAL: backbone.channels[-1] if global_from_last else channels}
        if regions:
            dims[FOREGROUND] = channels
            dims[PART] = (regions - 1) * channels
        if heads is not None and schema is not None:
            dims[GLOBAL_ATTRIBUTES] = dims[GLOBAL] + schema.classes
        self.necks = nn.ModuleDict({kind: BNNeck(dim, identities) for kind, dim in dims.items()})

    def features(self, x: Tensor) -> FeatureMap:
        """F of B x 3 x H x W float32, normalised: what clustering looks at."""
        return self._features(self.backbone(x))

    def maps(self, x: Tensor) -> tuple[FeatureMap, Tensor]:
        """F and the B x K x H x W logits of regions. Raises ValueError for a network without regions."""
        if self.classify is None:
            raise ValueError("the network has no regions")
        found = self.features(x)
        return found, self.classify(found)

    def pooled(self, x: Tensor) -> Pooled:
        """What the attribute heads read in B x 3 x H x W float32, normalised."""
        found = self.features(x)
        return self._pooled(found, None if self.classify is None else self.classify(found))

    def forward(self, x: Tensor) -> NetworkOutput:
        """B x 3 x H x W float32, normalised, to everything that the network says."""
        maps = self.backbone(x)
        found = self._features(maps)
        pixels = None if self.classify is None else self.classify(found)
        pooled = self._pooled(found, pixels)
        whole = maps[-1].float().mean(dim=(2, 3)) if self.global_from_last else pooled.whole
        features = {GLOBAL: self.necks[GLOBAL](whole)}
        if pixels is not None:
            features[FOREGROUND] = self.necks[FOREGROUND](pooled.foreground)
            features[PART] = self.necks[PART](pooled.parts.flatten(1))
        if self.heads is None or self.schema is None:
            return NetworkOutput(features, pixels)
        read = self.heads.read(pooled)
        logits = self.heads.say(read, self.heads.dropout).float()
        plain = log_probabilities(logits, self.schema)
        attributes = plain if self.reweight is None else self.reweight(self._heard(self.heads, read, logits))
        joined = torch.cat([whole, self.attribute_scale * attributes.exp()], dim=1)
        features[GLOBAL_ATTRIBUTES] = self.necks[GLOBAL_ATTRIBUTES](joined)
        return NetworkOutput(features, pixels, attributes, plain)

    def _features(self, maps: tuple[Tensor, ...]) -> FeatureMap:
        found = self.neck(maps)
        return found if self.attention is None else self.attention(found)  # type: ignore[no-any-return]

    def _heard(self, heads: AttributeHeads, read: list[Tensor], logits: Tensor) -> Tensor:
        """The logits that AWM corrects."""
        if self.awm_dropout is None or not self.training:
            return logits
        with torch.no_grad():
            return heads.say(read, self.awm_dropout).float()

    def _pooled(self, found: FeatureMap, pixels: Tensor | None) -> Pooled:
        if pixels is None:
            whole = found.mean()
            return Pooled(whole, whole, whole[:, None, :].expand(-1, 0, -1))
        probabilities = pixels.float().softmax(dim=1)
        return pool_regions(found, probabilities.detach() if self.detach_masks else probabilities, self.pool_norm)
