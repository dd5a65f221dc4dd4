from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from vestigo_models.errors import ConfigError
from vestigo_models.inference.package import PackageConfig
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.training.config import AugmentationConfig, TrainConfig, shipped_configs


def test_shipped_baseline_has_documented_values() -> None:
    assert shipped_configs() == [
        "alm",
        "baseline",
        "clustering",
        "control",
        "fls",
        "full",
        "global-attr",
        "parser",
        "tiny",
    ]
    assert TrainConfig.load("tiny").network.backbone == "tiny"
    assert TrainConfig.load("baseline") == TrainConfig()
    assert TrainConfig().batch_size == 64


def test_overrides() -> None:
    config = TrainConfig.load("baseline", {"network.backbone": "tiny", "epochs": 3})
    assert config.network.backbone == "tiny"
    assert config.epochs == 3


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("epoch: 3\nepochs: 0\nnetwork:\n  backbone: vgg\naugmentation:\n  flip: 1\n")
    with pytest.raises(ConfigError) as error:
        TrainConfig.load(path)
    message = str(error.value)
    for part in ("epoch: no such key", "epochs=0: ", "network.backbone='vgg': ", "augmentation.flip: no such key"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["network: tiny", "network: [1]", "network: 3", "fls: 7"])
def test_scalars_instead_of_sections_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError):
        TrainConfig.load(tmp_path / "x.yaml", {"network.channels": 64, "fls.seed": 1}, backbone="tiny")
    with pytest.raises(ConfigError, match=text.partition(":")[0]):
        TrainConfig.load(tmp_path / "x.yaml")


def test_long_values_are_shortened_in_messages(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"epochs: {'a' * 5000}\nb{'b' * 900}: 1\n")
    with pytest.raises(ConfigError, match="epochs='aaa") as error:
        TrainConfig.load(tmp_path / "x.yaml")
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("text", ["- 1", "a: [", "3", "epochs: &a 3\nseed: *a", "epochs: .inf", "learning_rate: .inf"])
def test_invalid_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        TrainConfig.load(tmp_path / "x.yaml")


def test_regions_that_a_configuration_lacks_cannot_be_compared() -> None:
    wanted = {"network.compared_regions": ["upper", "belongings"]}
    assert TrainConfig.load("fls", wanted).network.compared_regions == ("upper", "belongings")
    with pytest.raises(ConfigError, match="compared_regions: no region belongings"):
        TrainConfig.load("parser", wanted)
    with pytest.raises(ConfigError, match=r"no region belongings, upper \(known: none\)"):
        TrainConfig.load("baseline", wanted)


def test_unknown_name_lists_shipped_configurations() -> None:
    with pytest.raises(ConfigError, match="one of the shipped ones: alm, baseline"):
        TrainConfig.load("basline")


@pytest.mark.parametrize("model", [TrainConfig, AugmentationConfig, NetworkConfig, PackageConfig])
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
