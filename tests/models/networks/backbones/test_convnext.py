"""ConvNeXt as a backbone: its maps, weights of a classifier, and the whole network on top of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ConvNextConfig, ConvNextForImageClassification

from vestigo_models.errors import ModelError
from vestigo_models.networks.backbones import BACKBONES, ConvNext
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import REGIONS
from vestigo_models.training.config import TrainConfig

SMALL = ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1], num_labels=3)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ConvNextForImageClassification]:
    torch.manual_seed(0)
    model = ConvNextForImageClassification(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("convnext")
    model.save_pretrained(folder)
    return folder, model


def test_maps_are_those_of_four_stages() -> None:
    backbone = ConvNext(ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1]))
    maps = backbone(torch.zeros(2, 3, *backbone.native_size))
    assert [tuple(stage_map.shape) for stage_map in maps] == [
        (2, 8, 64, 32),
        (2, 12, 32, 16),
        (2, 16, 16, 8),
        (2, 20, 8, 4),
    ]
    assert tuple(maps[0].shape[2:]) == tuple(side // backbone.strides[0] for side in backbone.native_size)
    for stage_map, stride in zip(maps, backbone.strides, strict=True):
        assert stage_map.shape[2] == backbone.native_size[0] // stride


def test_weights_of_classifier_load_into_backbone(classifier: tuple[Path, ConvNextForImageClassification]) -> None:
    folder, model = classifier
    backbone = ConvNext(ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1])).eval()
    backbone.load_imagenet(str(folder))
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        hidden = model.eval().convnext(x, output_hidden_states=True).hidden_states[1:]
        for stage, (stage_map, plain) in enumerate(zip(backbone(x), hidden, strict=True), start=1):
            norm = backbone.body.hidden_states_norms[f"stage{stage}"]
            torch.testing.assert_close(stage_map, norm(plain))


def test_weights_of_another_size_raise(classifier: tuple[Path, ConvNextForImageClassification]) -> None:
    backbone = ConvNext(ConvNextConfig(hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 2, 1]))
    with pytest.raises(ModelError, match="give ImageNet weights of a ConvNeXt-Tiny in Hugging Face naming"):
        backbone.load_imagenet(str(classifier[0]))


@pytest.mark.parametrize("neck", ["concat", "fpn"])
def test_full_configuration_builds_on_convnext(neck: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        BACKBONES, "convnext", lambda: ConvNext(ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1]))
    )
    config = TrainConfig.load("full", {"network.channels": 8, "network.neck": neck}, backbone="convnext").network
    assert config == NetworkConfig.model_validate({**config.model_dump(), "backbone": "convnext"})
    network = build_network(config, identities=3, schema=MARKET_1501, regions=REGIONS)
    output = network(torch.randn(2, 3, 64, 32))
    assert output.region_logits.shape == (2, 6, 16, 8)
    assert {kind: features.logits.shape for kind, features in output.features.items()} == dict.fromkeys(
        ["global", "foreground", "part", "globalattr"], (2, 3)
    )
