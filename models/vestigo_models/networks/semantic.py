"""The network of docs/method.md, section "Network".

backbone ── neck ── F ─┬─ pixel classifier ── P ── regions pooled from F ─┬─ part, foreground, global features
                       │                                                  └─ attribute heads ── p ── AWM ── p-hat
                       └─ the global feature may come from the backbone's last map instead        [global ; p-hat]
"""

import torch
from torch import Tensor, nn

from vestigo_models.networks.alm import AttributeHeads, PooledFeatures, pool_regions
from vestigo_models.networks.awm import Reweighting, attribute_log_softmax
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.networks.feature_map import (
    ConcatNeck,
    FeatureMap,
    JoinedNeck,
    PixelClassifier,
    PyramidNeck,
    SpatialAttention,
)
from vestigo_models.networks.outputs import GLOBAL_ATTRIBUTES, PART, Backbone, BNNeck, NetworkOutput, ReidNetwork
from vestigo_models.schemas.regions import FOREGROUND, GLOBAL


class SemanticNetwork(ReidNetwork):
    """A feature map F, and the features, regions and attributes that are read from it.

    The configuration names those that the network has. The neck combines the maps of the backbone to F; heads are None
    for a network without attributes. Without `awm_dropout`, heads and AWM are trained together, as in the paper; with
    it, AWM learns from heads with this dropout and passes no gradients to them. `identities` is the number of training
    identities, 0 for inference.
    """

    def __init__(
        self,
        config: NetworkConfig,
        backbone: Backbone,
        neck: ConcatNeck | JoinedNeck | PyramidNeck,
        heads: AttributeHeads | None,
        *,
        awm_dropout: float | None,
        identities: int,
    ) -> None:
        super().__init__()
        channels, regions = sum(neck.channels), config.regions
        self.config = config
        self.backbone = backbone
        self.neck = neck
        self.attention = SpatialAttention(neck.channels) if config.spatial_attention else None
        self.classify = PixelClassifier(neck.channels, regions) if regions else None
        self.heads = heads
        self.reweight = Reweighting(heads.schema) if config.awm and heads is not None else None
        self.awm_dropout = awm_dropout
        dims = {GLOBAL: backbone.channels[-1] if config.global_source == "c5" else channels}
        if regions:
            dims[FOREGROUND] = channels
            dims[PART] = (regions - 1) * channels
        if heads is not None:
            dims[GLOBAL_ATTRIBUTES] = dims[GLOBAL] + heads.schema.classes
        self.necks = nn.ModuleDict({kind: BNNeck(dim, identities) for kind, dim in dims.items()})

    def feature_map(self, x: Tensor) -> FeatureMap:
        """Compute F of B x 3 x H x W float32, normalised."""
        return self._combine(self.backbone(x))

    def segment(self, x: Tensor) -> tuple[FeatureMap, Tensor]:
        """Compute F and the region logits, B x K x H x W.

        Raises:
            ValueError: If the network has no regions.
        """
        if self.classify is None:
            raise ValueError("the network has no regions")
        features = self.feature_map(x)
        return features, self.classify(features)

    def pool(self, x: Tensor) -> PooledFeatures:
        """Compute the input of the attribute heads for B x 3 x H x W float32, normalised."""
        features = self.feature_map(x)
        return self._pool(features, None if self.classify is None else self.classify(features))

    def forward(self, x: Tensor) -> NetworkOutput:
        """Compute all outputs of B x 3 x H x W float32, normalised."""
        maps = self.backbone(x)
        feature_map = self._combine(maps)
        region_logits = None if self.classify is None else self.classify(feature_map)
        pooled = self._pool(feature_map, region_logits)
        whole = maps[-1].float().mean(dim=(2, 3)) if self.config.global_source == "c5" else pooled.whole
        features = {GLOBAL: self.necks[GLOBAL](whole)}
        if region_logits is not None:
            features[FOREGROUND] = self.necks[FOREGROUND](pooled.foreground)
            features[PART] = self.necks[PART](pooled.parts.flatten(1))
        if self.heads is None:
            return NetworkOutput(features, region_logits)
        inputs = self.heads.normalise(pooled)
        logits = self.heads.classify(inputs, self.heads.dropout).float()
        raw = attribute_log_softmax(logits, self.heads.schema)
        attributes = raw
        if self.reweight is not None:
            if self.awm_dropout is not None and self.training:
                with torch.no_grad():
                    logits = self.heads.classify(inputs, self.awm_dropout).float()
            attributes = self.reweight(logits)
        joined = torch.cat([whole, self.config.attr_scale * attributes.exp()], dim=1)
        features[GLOBAL_ATTRIBUTES] = self.necks[GLOBAL_ATTRIBUTES](joined)
        return NetworkOutput(features, region_logits, attributes, raw)

    def _combine(self, maps: tuple[Tensor, ...]) -> FeatureMap:
        features = self.neck(maps)
        return features if self.attention is None else self.attention(features)  # type: ignore[no-any-return]

    def _pool(self, features: FeatureMap, region_logits: Tensor | None) -> PooledFeatures:
        if region_logits is None:
            whole = features.mean()
            return PooledFeatures(whole, whole, whole[:, None, :].expand(-1, 0, -1))
        probabilities = region_logits.float().softmax(dim=1)
        if self.config.detach_masks:
            probabilities = probabilities.detach()
        return pool_regions(features, probabilities, self.config.pool_norm)
