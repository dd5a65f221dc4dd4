"""Folding of batch normalisation into convolutions, for inference."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vestigo_models.networks.neck import JoinedNeck
from vestigo_models.networks.outputs import ReidNetwork


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
