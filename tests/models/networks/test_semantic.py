"""Necks, ALM and AWM agree with naive sums."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from vestigo_models.errors import ConfigError
from vestigo_models.networks.alm import AttributeHeads, PooledFeatures, attribute_regions, pool_regions
from vestigo_models.networks.awm import Reweighting, attribute_log_softmax
from vestigo_models.networks.build import build_network, fold_batch_norms
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.networks.feature_map import (
    ConcatNeck,
    FeatureMap,
    JoinedNeck,
    PixelClassifier,
    PyramidNeck,
    SpatialAttention,
)
from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501
from vestigo_models.schemas.regions import REGIONS
from vestigo_models.training.losses import attribute_loss

MARKET_SOURCES = attribute_regions(MARKET_1501, None)
SCHEMAS = [(MARKET_1501, MARKET_SOURCES), (DUKEMTMC_REID, attribute_regions(DUKEMTMC_REID, None))]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def maps(count: int = 2) -> list[torch.Tensor]:
    return [torch.randn(count, width, *size) for width, size in ((4, (16, 8)), (6, (8, 4)), (8, (4, 2)), (8, (4, 2)))]


def test_concat_neck_equals_one_convolution_of_all_maps() -> None:
    neck = ConcatNeck((4, 6, 8, 8), 5).eval()
    result = maps()
    enlarged = [functional.interpolate(m, (16, 8), mode="bilinear", align_corners=False) for m in result]
    weight = torch.cat([lateral.weight for lateral in neck.laterals], dim=1)
    expected = functional.relu(neck.norm(functional.conv2d(torch.cat(enlarged, dim=1), weight)))
    torch.testing.assert_close(neck(result).to_tensor(), expected, atol=1e-5, rtol=1e-5)


def test_pyramid_neck_adds_coarse_maps_to_fine_ones() -> None:
    neck = PyramidNeck((4, 6, 8, 8), 5)
    result = maps()
    assert neck(result).size == (16, 8)
    lateral = [layer(m) for layer, m in zip(neck.laterals, result, strict=True)]
    sums = torch.zeros(2, 5, 16, 8)
    for y in range(16):
        for x in range(8):
            sums[:, :, y, x] = lateral[0][:, :, y, x] + lateral[1][:, :, y // 2, x // 2]
            sums[:, :, y, x] += lateral[2][:, :, y // 4, x // 4] + lateral[3][:, :, y // 4, x // 4]
    torch.testing.assert_close(neck(result).to_tensor(), functional.relu(neck.smooth(sums)), atol=1e-5, rtol=1e-5)


def test_joined_neck_keeps_channels_on_three_grids() -> None:
    neck = JoinedNeck((4, 6, 8, 8), 3, 2).eval()
    result = maps()
    up = [
        functional.interpolate(layer(m), (4, 2), mode="bilinear")
        for layer, m in zip(neck.laterals, result[2:], strict=True)
    ]
    deep = up[0] + up[1]
    middle = neck.first(result[1]) + functional.interpolate(deep[:, :3], (8, 4), mode="bilinear")
    fine, second, third = neck(result).maps
    assert neck.channels == (4, 3, 2)
    torch.testing.assert_close(fine, result[0])
    torch.testing.assert_close(second, neck.refine(functional.relu(neck.middle_norm(middle))))
    torch.testing.assert_close(third, functional.relu(neck.coarse_norm(deep[:, 3:])))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("coarse", [(8, 4), (4, 2), (5, 3)])
def test_maps_on_two_grids_equal_one_enlarged_map(gated: bool, coarse: tuple[int, int]) -> None:
    gate = torch.rand(2, 1, 16, 8) if gated else None
    split = FeatureMap((torch.randn(2, 3, 16, 8), torch.randn(2, 4, *coarse)), gate)
    whole = FeatureMap((split.to_tensor(),))
    weights = torch.rand(2, 5, 16, 8)
    expected = torch.einsum("bchw,bkhw->bkc", split.to_tensor(), weights) / (16 * 8)
    torch.testing.assert_close(split.pool(weights), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole.pool(weights), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(split.mean(), split.to_tensor().mean(dim=(2, 3)), atol=1e-5, rtol=1e-5)
    classifier = PixelClassifier((3, 4), 6)
    torch.testing.assert_close(classifier(split), classifier.convolution(split.to_tensor()), atol=1e-5, rtol=1e-5)


def test_attention_weakens_all_channels_alike() -> None:
    x = torch.rand(2, 6, 16, 8) + 0.1
    ratio = SpatialAttention((6,))(FeatureMap((x,))).to_tensor() / x
    assert ((ratio > 0) & (ratio < 1)).all()
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


@pytest.mark.parametrize("regions", [5, 6])
def test_pooling_equals_weighted_sum_over_cells(regions: int) -> None:
    features, p = torch.rand(2, 3, 4, 5), torch.randn(2, regions, 4, 5).softmax(dim=1)
    pooled = pool_regions(FeatureMap((features,)), p)
    assert pooled.parts.shape == (2, regions - 1, 3)
    for b in range(2):
        for k in range(1, regions):
            for c in range(3):
                cells = [float(p[b, k, y, x] * features[b, c, y, x]) for y in range(4) for x in range(5)]
                assert float(pooled.parts[b, k - 1, c]) == pytest.approx(sum(cells) / 20, abs=1e-6)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(2, 4, 5))
    torch.testing.assert_close(pooled.foreground, pooled.parts.sum(dim=1))
    behind = (features * p[:, :1]).mean(dim=(2, 3))
    torch.testing.assert_close(pooled.whole, pooled.foreground + behind)


def test_area_norm_gives_mean_over_cells_of_part() -> None:
    features = torch.rand(1, 3, 4, 4)
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, :2], labels[0, 2] = 1, 2
    pooled = pool_regions(FeatureMap((features,)), functional.one_hot(labels, 4).permute(0, 3, 1, 2).float(), "area")
    torch.testing.assert_close(pooled.parts[0, 0], features[0, :, :2].mean(dim=(1, 2)))
    torch.testing.assert_close(pooled.foreground[0], features[0, :, :3].mean(dim=(1, 2)))
    assert not pooled.parts[0, 2].any()


@pytest.mark.parametrize(("schema", "sources"), SCHEMAS)
def test_heads_read_only_their_regions(schema: AttributeSchema, sources: dict[str, tuple[str, ...]]) -> None:
    heads = AttributeHeads(schema, REGIONS.names[1:], sources, channels=7).eval()
    pooled = PooledFeatures(torch.randn(3, 7), torch.randn(3, 7), torch.randn(3, 5, 7))
    logits = heads(pooled)
    assert logits.shape == (3, schema.classes)
    for place, region in enumerate(REGIONS.names[1:]):
        parts = pooled.parts.clone()
        parts[:, place] += 1
        changed = heads(pooled._replace(parts=parts)) != logits
        for name in schema.names:
            assert changed[:, schema.slice(name)].any() == (region in sources[name]), (name, region)


def test_network_reads_regions_of_own_schema() -> None:
    apron = Attribute(
        name="apron", values=("no", "yes"), fields=("apron",), title="Apron", regions=("upper", "lower", "foreground")
    )
    schema = AttributeSchema("shop", (MARKET_1501["hat"], apron))
    wanted = {"backbone": "tiny", "neck": "joined", "channels": 64, "regions": 6, "attributes": "regions"}
    network = build_network(NetworkConfig.model_validate(wanted), schema=schema, regions=REGIONS)
    assert [head[1].in_features for head in network.heads.heads] == [64, 3 * 64]
    overridden = NetworkConfig.model_validate({**wanted, "attr_regions": {"apron": ["lower"]}})
    network = build_network(overridden, schema=schema, regions=REGIONS)
    assert [head[1].in_features for head in network.heads.heads] == [64, 64]


def test_dropout_applies_in_training_only() -> None:
    sources = MARKET_SOURCES
    plain = AttributeHeads(MARKET_1501, REGIONS.names[1:], sources, channels=7)
    heads = AttributeHeads(MARKET_1501, REGIONS.names[1:], sources, channels=7, dropout=0.5)
    heads.load_state_dict(plain.state_dict())
    pooled = PooledFeatures(torch.randn(3, 7), torch.randn(3, 7), torch.randn(3, 5, 7))
    assert not torch.equal(heads(pooled), plain(pooled))
    torch.testing.assert_close(heads.eval()(pooled), plain.eval()(pooled), rtol=0, atol=0)


def test_all_wrong_regions_are_reported_together() -> None:
    sources = {**MARKET_SOURCES, "hat": ("hed",), "shoe_size": ("shoes",), "bag": ()}
    with pytest.raises(ConfigError, match=r"bag: no region; shoe_size: no such attribute; hat: no region 'hed'"):
        AttributeHeads(MARKET_1501, REGIONS.names[1:], sources, channels=4)


@pytest.mark.parametrize(("schema", "classes"), [(MARKET_1501, 39), (DUKEMTMC_REID, 31)])
def test_reweighting_starts_as_identity_and_stays_a_distribution(schema: AttributeSchema, classes: int) -> None:
    awm = Reweighting(schema)
    logits = torch.randn(4, classes)
    torch.testing.assert_close(awm(logits), attribute_log_softmax(logits, schema), atol=1e-6, rtol=0)
    with torch.no_grad():
        awm.correlate.weight.normal_()
    result = awm(logits).exp()
    for name in schema.names:
        torch.testing.assert_close(result[:, schema.slice(name)].sum(dim=1), torch.ones(4))


def test_reweighting_agrees_with_formula() -> None:
    awm = Reweighting(MARKET_1501)
    with torch.no_grad():
        awm.correlate.weight.normal_()
        awm.correlate.bias.normal_()
    logits = torch.randn(1, 39)
    result = awm(logits)[0].exp().tolist()
    p = []
    for name in MARKET_1501.names:
        group = [math.exp(float(z)) for z in logits[0, MARKET_1501.slice(name)]]
        p += [value / sum(group) for value in group]
    v, b = awm.correlate.weight.tolist(), awm.correlate.bias.tolist()
    c = [1 / (1 + math.exp(-(sum(v[i][j] * p[j] for j in range(39)) + b[i]))) for i in range(39)]
    for name in MARKET_1501.names:
        place = MARKET_1501.slice(name)
        weighted = [c[i] * p[i] for i in range(place.start, place.stop)]
        for i, value in zip(range(place.start, place.stop), weighted, strict=True):
            assert result[i] == pytest.approx(value / sum(weighted), abs=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_attribute_loss_reaches_correlations_and_skips_missing_labels(noise: float) -> None:
    awm = Reweighting(DUKEMTMC_REID)
    logits = torch.randn(5, 31)
    labels = torch.zeros(5, len(DUKEMTMC_REID), dtype=torch.long)
    labels[0, 3] = -1
    labels[:, 4] = -1
    result = awm(logits)
    loss = attribute_loss(result, labels, DUKEMTMC_REID, noise=noise)
    probabilities = result.exp().tolist()
    expected = 0.0
    for j, name in enumerate(DUKEMTMC_REID.names):
        start, classes = DUKEMTMC_REID.slice(name).start, len(DUKEMTMC_REID[name].values)
        for i in (known := [i for i in range(5) if labels[i, j] >= 0]):
            p = probabilities[i][start + int(labels[i, j])]
            expected -= math.log((1 - noise) * p + noise / (classes - 1) * (1 - p)) / len(known)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert awm.correlate.weight.grad is not None
    assert awm.correlate.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("neck", ["none", "joined", "concat"])
def test_folded_network_computes_the_same(neck: str) -> None:
    semantic = {} if neck == "none" else {"neck": neck, "channels": 64, "regions": 6, "attributes": "regions"}
    config = NetworkConfig.model_validate({"backbone": "tiny", **semantic})
    network = build_network(config, schema=MARKET_1501, regions=REGIONS)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    network.eval()
    x = torch.randn(2, 3, 64, 32)
    before, after = network(x), fold_batch_norms(network)(x)
    for kind, features in before.features.items():
        torch.testing.assert_close(after.features[kind].post, features.post, rtol=1e-3, atol=1e-3)
    if before.region_logits is not None:
        torch.testing.assert_close(after.region_logits, before.region_logits, rtol=1e-3, atol=1e-3)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    left = [
        name for name, module in fold_batch_norms(network).named_modules() if isinstance(module, torch.nn.BatchNorm2d)
    ]
    assert not left or neck == "concat"


def test_awm_with_dropout_learns_without_gradients_to_heads() -> None:
    wanted = {"backbone": "tiny", "neck": "joined", "channels": 64, "regions": 6, "attributes": "regions", "awm": True}
    config = NetworkConfig.model_validate(wanted)
    network = build_network(config, identities=3, schema=MARKET_1501, regions=REGIONS, awm_dropout=0.9)
    joined = build_network(config, identities=3, schema=MARKET_1501, regions=REGIONS)
    joined.load_state_dict(network.state_dict())
    x, labels = torch.randn(8, 3, 64, 32), torch.zeros(8, 12, dtype=torch.long)

    output = network(x)
    assert output.attributes is not None
    assert output.raw_attributes is not None
    with torch.no_grad():
        assert not torch.allclose(output.attributes, output.raw_attributes, atol=0.1)
    attribute_loss(output.attributes, labels, MARKET_1501).backward()
    assert network.reweight.correlate.weight.grad.abs().sum() > 0
    assert all(p.grad is None for name, p in network.named_parameters() if not name.startswith("reweight."))

    joined_output = joined(x)
    torch.testing.assert_close(joined_output.raw_attributes, output.raw_attributes, rtol=0, atol=1e-5)
    for (name, buffer), (_, other) in zip(network.named_buffers(), joined.named_buffers(), strict=True):
        if name.startswith("heads."):
            torch.testing.assert_close(buffer, other, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(network.eval()(x).attributes, joined.eval()(x).attributes, rtol=0, atol=1e-5)
