"""What is float32 by its description is computed in float32 under autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vestigo_models.networks.alm import pool_regions
from vestigo_models.networks.awm import Reweighting
from vestigo_models.networks.feature_map import FeatureMap
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.training.losses import euclidean_distances


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))


def features() -> FeatureMap:
    return FeatureMap([random(2, 3, 16, 8), random(2, 5, 4, 2)], gate=random(2, 1, 16, 8))


def reweight() -> Tensor:
    module = Reweighting(MARKET_1501)
    torch.nn.init.normal_(module.correlate.weight, generator=torch.Generator().manual_seed(0))
    return module(random(2, MARKET_1501.classes)).detach()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "compute",
    [
        lambda: features().pool(random(2, 6, 16, 8)),
        lambda: features().mean(),
        lambda: pool_regions(features(), random(2, 6, 16, 8), "area").parts,
        lambda: euclidean_distances(random(4, 7), 2 * random(3, 7)),
        reweight,
    ],
    ids=["pool", "mean", "regions", "distances", "awm"],
)
def test_result_is_that_without_autocast(compute: Callable[[], Tensor], dtype: torch.dtype) -> None:
    expected = compute()
    with torch.autocast("cpu", dtype):
        computed = compute()
    assert computed.dtype == torch.float32
    assert torch.equal(computed, expected)
