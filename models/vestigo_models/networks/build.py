"""Building of networks from their configuration, the baseline, and folding of batch norms for inference."""

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vestigo_models.errors import ConfigError
from vestigo_models.networks.alm import AttributeHeads, attribute_regions
from vestigo_models.networks.backbones import BACKBONES
from vestigo_models.networks.config import NetworkConfig, Pooling
from vestigo_models.networks.feature_map import ConcatNeck, JoinedNeck, PyramidNeck
from vestigo_models.networks.outputs import Backbone, BNNeck, NetworkOutput, ReidNetwork
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.regions import GLOBAL, RegionSchema


class GeneralisedMean(nn.Module):
    """GeM pooling with a learnt exponent (Radenović et al., TPAMI 2019): from average (1) to maximum (infinity)."""

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, x: Tensor) -> Tensor:
        """Pool B x C x H x W, not negative, to B x C."""
        # Powers of small numbers leave the range of half precision.
        powers = x.float().clamp(min=1e-6).pow(self.exponent)
        return powers.mean(dim=(2, 3)).pow(1.0 / self.exponent)


class Baseline(ReidNetwork):
    """BoT (Luo et al., CVPR Workshops 2019): backbone, pooling and a BNNeck; `identities` is 0 for inference."""

    def __init__(self, backbone: Backbone, *, pooling: Pooling, identities: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = GeneralisedMean() if pooling == "gem" else None
        self.necks = nn.ModuleDict({GLOBAL: BNNeck(backbone.channels[-1], identities)})

    def forward(self, x: Tensor) -> NetworkOutput:
        """Compute the global features of B x 3 x H x W float32, normalised."""
        last = self.backbone(x)[-1]
        pooled = last.float().mean(dim=(2, 3)) if self.pool is None else self.pool(last)
        return NetworkOutput({GLOBAL: self.necks[GLOBAL](pooled)})


def build_network(
    config: NetworkConfig,
    *,
    identities: int = 0,
    schema: AttributeSchema | None = None,
    regions: RegionSchema | None = None,
    attr_dropout: float = 0.0,
    awm_dropout: float | None = None,
) -> ReidNetwork:
    """Build a network with fresh weights, which predicts the attributes of `schema` from `regions`.

    Without training `identities` it has no classifiers for them. `attr_dropout` is the share of the input of an
    attribute head that is dropped in training; see `SemanticNetwork` for `awm_dropout`.

    Raises:
        ConfigError: If keys contradict each other, there is no schema for attributes, or an attribute has no region.
    """
    backbone: Backbone = BACKBONES[config.backbone]()
    if config.neck == "none":
        if config.regions or config.attributes != "none":
            raise ConfigError("network: regions and attributes are read from F; give a neck: concat, fpn or joined")
        return Baseline(backbone, pooling=config.pooling, identities=identities)
    heads = None
    if config.attributes != "none":
        if schema is None:
            raise ConfigError(f"network.attributes={config.attributes}: no attribute schema; the data has no labels")
        parts: tuple[str, ...] = ()
        sources: Mapping[str, Sequence[str]] = dict.fromkeys(schema.names, (GLOBAL,))
        if config.attributes == "regions":
            if not config.regions or regions is None:
                raise ConfigError(
                    "network.attributes=regions: the network has no regions; set network.regions, or use global"
                )
            parts, sources = regions.names[1:], attribute_regions(schema, config.attr_regions)
        heads = AttributeHeads(schema, parts, sources, config.channels, attr_dropout)
    elif config.awm:
        raise ConfigError("network.awm: re-weights attributes; set network.attributes to regions or global")
    neck = _build_neck(config, backbone)
    return SemanticNetwork(config, backbone, neck, heads, awm_dropout=awm_dropout, identities=identities)


def _build_neck(config: NetworkConfig, backbone: Backbone) -> ConcatNeck | JoinedNeck | PyramidNeck:
    if config.neck == "joined":
        coarse = config.channels - config.middle_channels - backbone.channels[0]
        if coarse < 1:
            raise ConfigError(
                f"network.channels={config.channels}: joined needs more than {backbone.channels[0]} fine and "
                f"{config.middle_channels} middle ones"
            )
        return JoinedNeck(backbone.channels, config.middle_channels, coarse)
    return (ConcatNeck if config.neck == "concat" else PyramidNeck)(backbone.channels, config.channels)


def fold_batch_norms(network: ReidNetwork) -> ReidNetwork:
    """Return a copy of a network in evaluation mode with batch norms folded into the convolutions before them.

    The copy computes the same up to rounding, with fewer passes over memory.
    """
    result = copy.deepcopy(network)
    for module in result.modules():
        if isinstance(module, nn.Sequential):
            for before, after in pairwise(list(module._modules)):
                convolution, norm = module._modules[before], module._modules[after]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module._modules[before] = fuse_conv_bn_eval(convolution, norm)
                    module._modules[after] = nn.Identity()
        elif isinstance(module, JoinedNeck):
            _fold_neck(module)
    return result


@torch.no_grad()
def _fold_neck(neck: JoinedNeck) -> None:
    """Fold the norms of a neck, which follow sums: each term takes the scale, one of them the shift."""
    scales, shifts = [], []
    for norm in (neck.middle_norm, neck.coarse_norm):
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        scales.append(scale)
        shifts.append(norm.bias - norm.running_mean * scale)
    for lateral in neck.laterals:
        assert isinstance(lateral, nn.Conv2d)
        lateral.weight *= torch.cat(scales)[:, None, None, None]
    # The first lateral is not enlarged before the sum, and enlarging a constant does not change it.
    neck.laterals[0].bias = nn.Parameter(torch.cat([torch.zeros_like(shifts[0]), shifts[1]]), requires_grad=False)
    neck.first.weight *= scales[0][:, None, None, None]
    neck.first.bias = nn.Parameter(shifts[0], requires_grad=False)
    neck.middle_norm, neck.coarse_norm = nn.Identity(), nn.Identity()
