"""The objective equals loops over cells and images (docs/method.md, "Losses")."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import REGIONS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.losses import UNLABELLED, BatchTargets, Objective, parsing_terms

CHANGES = {"awm_aux_loss": 0.5, "alpha": 0.3, "lambda_attr": 0.7, "globalattr_weight": 0.25}
FULL = TrainConfig.load("full", CHANGES, backbone="tiny")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("summed", [False, True])
def test_parsing_loss_is_cross_entropy_of_labelled_cells(summed: bool) -> None:
    pixels, maps = torch.randn(2, 4, 3, 5), torch.randint(0, 4, (2, 3, 5))
    maps[0, 0], maps[1, 2, 3] = UNLABELLED, UNLABELLED
    losses, right = [], 0
    for b in range(2):
        for y in range(3):
            for x in range(5):
                if maps[b, y, x] != UNLABELLED:
                    z = pixels[b, :, y, x].tolist()
                    losses.append(math.log(sum(map(math.exp, z))) - z[int(maps[b, y, x])])
                    right += z.index(max(z)) == int(maps[b, y, x])
    terms = parsing_terms(pixels, maps, summed=summed)
    assert float(terms["parsing"]) == pytest.approx(sum(losses) / (2 if summed else len(losses)), rel=1e-4)
    assert float(terms["pixels"]) == pytest.approx(right / len(losses))


@pytest.mark.parametrize("summed", [False, True])
def test_belongings_weight_counts_in_loss_and_mean(summed: bool) -> None:
    pixels, maps = torch.randn(2, 6, 3, 5), torch.randint(0, 6, (2, 3, 5))
    maps[0, 0, :2], maps[1, 1] = 5, UNLABELLED
    total, weight = 0.0, 0.0
    for b, y, x in np.ndindex(2, 3, 5):
        if maps[b, y, x] != UNLABELLED:
            z, factor = pixels[b, :, y, x].tolist(), 4.0 if maps[b, y, x] == 5 else 1.0
            total += factor * (math.log(sum(map(math.exp, z))) - z[int(maps[b, y, x])])
            weight += factor
    terms = parsing_terms(pixels, maps, summed=summed, belongings_weight=4.0)
    assert float(terms["parsing"]) == pytest.approx(total / (2 if summed else weight), rel=1e-4)
    few = pixels[:, :5], maps.clamp(max=4)
    assert parsing_terms(*few, summed=summed, belongings_weight=4.0) == parsing_terms(*few, summed=summed)


def test_parsing_loss_without_labelled_cells_is_zero() -> None:
    pixels = torch.randn(1, 4, 3, 5, requires_grad=True)
    terms = parsing_terms(pixels, torch.full((1, 3, 5), UNLABELLED), summed=False)
    terms["parsing"].backward()
    assert float(terms["parsing"].detach()) == 0
    assert not pixels.grad.any()


def test_total_is_the_weighted_sum_of_terms() -> None:
    network = build_network(FULL.network, identities=3, schema=MARKET_1501, regions=REGIONS)
    objective = Objective(network, FULL, 3, MARKET_1501)
    with torch.no_grad():
        output = network(torch.randn(6, 3, 64, 32))
    labels = torch.stack([torch.randint(0, len(a.values), (6,)) for a in MARKET_1501.attributes], dim=1)
    labels[2, 4] = -1
    maps = torch.randint(0, 6, (6, 32, 16))
    maps[:, :, :3] = UNLABELLED
    truth = BatchTargets(torch.arange(6) % 3, maps, labels)
    with torch.no_grad():
        terms = {name: float(value) for name, value in objective(output, truth, Ranks()).items()}

    squared = identity = 0.0
    for kind, features in output.features.items():
        share = 0.25 if kind == "globalattr" else 1
        table = objective.centres[kind].centres[truth.pids]
        squared += share * float((features.pre - table).square().sum(1).mean().detach())
        log = torch.log_softmax(features.logits, dim=1)
        smooth = torch.full((6, 3), 0.1 / 3)
        smooth[torch.arange(6), truth.pids] += 0.9
        identity -= share * float((log * smooth).sum(1).mean())
    assert terms["centre"] == pytest.approx(squared, rel=1e-4)
    assert terms["identity"] == pytest.approx(identity, rel=1e-4)
    entropy = -sum(
        float(log[i, MARKET_1501.offsets[j] + int(labels[i, j])]) / int((labels[:, j] >= 0).sum())
        for log in (output.raw_attributes,)
        for j in range(12)
        for i in range(6)
        if labels[i, j] >= 0
    )
    expected = (
        terms["identity"]
        + terms["triplet"]
        + 5e-4 * terms["centre"]
        + 0.3 * terms["parsing"]
        + 0.7 * terms["attributes"]
        + 0.5 * entropy
    )
    assert terms["total"] == pytest.approx(expected, rel=1e-4)
    assert list(output.features) == ["global", "foreground", "part", "globalattr"]


def test_every_parameter_has_a_gradient() -> None:
    config = NetworkConfig.model_validate({**FULL.network.model_dump(), "spatial_attention": True})
    network = build_network(config, identities=3, schema=MARKET_1501, regions=REGIONS)
    objective = Objective(network, FULL, 3, MARKET_1501)
    labels = torch.zeros(6, 12, dtype=torch.long)
    truth = BatchTargets(torch.arange(6) % 3, torch.randint(0, 6, (6, 32, 16)), labels)
    objective(network(torch.randn(6, 3, 64, 32)), truth, Ranks())["total"].backward()
    deaf = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not deaf
    assert network.reweight.correlate.weight.grad.any()


def test_centres_are_independent_of_their_weight() -> None:
    moved = []
    for weight in (1.0, 0.25):
        torch.manual_seed(0)
        config = TrainConfig.load("full", {**CHANGES, "globalattr_weight": weight}, backbone="tiny")
        network = build_network(config.network, identities=3, schema=MARKET_1501, regions=REGIONS)
        objective = Objective(network, config, 3, MARKET_1501)
        labels = torch.zeros(6, 12, dtype=torch.long)
        truth = BatchTargets(torch.arange(6) % 3, torch.randint(0, 6, (6, 32, 16)), labels)
        objective(network(torch.randn(6, 3, 64, 32)), truth, Ranks())["total"].backward()
        objective.rescale_gradients()
        moved.append(objective.centres["globalattr"].centres.grad)
    torch.testing.assert_close(moved[1], moved[0])


def test_belongings_weight_is_one_for_clusters() -> None:
    changes = {"belongings_weight": 5.0}
    for name, weight in (("fls", 5), ("clustering", 1)):
        config = TrainConfig.load(name, changes, backbone="tiny")
        network = build_network(config.network, identities=3, regions=config.region_schema)
        assert Objective(network, config, 3, None).belongings_weight == weight
