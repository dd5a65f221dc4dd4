from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.support.random_models import random_package
from vestigo_models.errors import ConfigError, ModelError
from vestigo_models.inference.package import ModelPackage, PackageConfig, package_network, resolve_model
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.networks.weights import CONFIG, WEIGHTS
from vestigo_models.schemas.regions import REGIONS
from vestigo_models.shipped import SHIPPED


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    torch.manual_seed(0)
    config = PackageConfig(name="trial", network=NetworkConfig(backbone="tiny"), input_size=(128, 64))
    return package_network(config, build_network(config.network, identities=9))


def test_save_and_load_round_trip(package: ModelPackage, tmp_path: Path) -> None:
    package.save_pretrained(tmp_path)
    loaded = ModelPackage.from_pretrained(tmp_path)
    assert loaded.digest == package.digest
    assert loaded.config == package.config
    assert (loaded.name, loaded.input_size, loaded.embedding_dim) == ("trial", (128, 64), 256)
    x = torch.randn(2, 3, 128, 64)
    torch.testing.assert_close(
        loaded.network(x).features["global"].post, package.network(x).features["global"].post, rtol=0, atol=0
    )
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_half_precision_weights_load_as_float32(package: ModelPackage, tmp_path: Path) -> None:
    package.save_pretrained(tmp_path / "full")
    package.save_pretrained(tmp_path / "half", half=True)
    assert (tmp_path / "half" / WEIGHTS).stat().st_size < 0.6 * (tmp_path / "full" / WEIGHTS).stat().st_size
    loaded = ModelPackage.from_pretrained(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in loaded.network.parameters())
    assert loaded.digest != package.digest
    # The digest is that of what is computed with, so it survives being stored at full width.
    loaded.save_pretrained(tmp_path / "again")
    assert ModelPackage.from_pretrained(tmp_path / "again").digest == loaded.digest


def test_digest_covers_output_settings_only(package: ModelPackage) -> None:
    def digest(**changes: object) -> str:
        return ModelPackage(package.config.model_copy(update=changes), package.network).digest

    assert digest(name="other", trained_on={"a": 1}, judged={"mAP": 1.0}) == package.digest
    assert digest(mean=(0.5, 0.5, 0.5)) != package.digest
    assert digest(flip_average=True) != package.digest
    assert digest(input_size=(64, 32)) != package.digest


def test_unknown_compared_regions_are_refused() -> None:
    package = random_package()
    network = package.config.network.model_copy(update={"compared_regions": ("upper", "hands")})
    with pytest.raises(ConfigError, match=r"compared_regions: no region hands \(known: head, upper, lower, shoes"):
        ModelPackage(package.config.model_copy(update={"network": network}), package.network)


def test_model_that_compares_all_regions_keeps_its_digest() -> None:
    package = random_package()
    settings = package.config.output_settings()
    assert "compared_regions" not in settings["network"]
    assert package.part_names == REGIONS.names[1:]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_packages_are_small(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (resolve_model(name) / WEIGHTS).stat().st_size <= 12 * 10**6
    package = ModelPackage.from_pretrained(name)
    assert (package.name, package.input_size) == (name, (128, 64))
    monkeypatch.chdir(tmp_path)
    package.save_pretrained(tmp_path / name)
    with pytest.raises(ModelError, match=f"give ./{name} for the folder"):
        resolve_model(name)
    assert resolve_model(f"./{name}") == Path(name)


def test_default_is_the_first_shipped_package() -> None:
    assert resolve_model("default") == resolve_model(SHIPPED[0])


class TestWrongPackages:
    def refuse(self, ref: str | Path) -> str:
        with pytest.raises(ModelError) as error:
            ModelPackage.from_pretrained(ref)
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_missing_folder(self, tmp_path: Path) -> None:
        assert "give `default`, such a folder or `hub:ID`" in self.refuse(tmp_path)
        assert "nowhere" in self.refuse("nowhere")

    def test_unreachable_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert "hub cannot be reached" in self.refuse("hub:some/body")

    def test_broken_files(self, package: ModelPackage, tmp_path: Path) -> None:
        package.save_pretrained(tmp_path)
        config = json.loads((tmp_path / CONFIG).read_text())
        (tmp_path / CONFIG).write_text(json.dumps({**config, "format_version": 2}))
        assert "format_version" in self.refuse(tmp_path)
        (tmp_path / CONFIG).write_text(json.dumps({**config, "speed": 2}))
        assert "speed" in self.refuse(tmp_path)
        (tmp_path / CONFIG).write_text("{")
        assert "is not the configuration of a model" in self.refuse(tmp_path)
        (tmp_path / CONFIG).write_bytes(json.dumps(config).encode() + b"\x80")
        assert "save it as UTF-8" in self.refuse(tmp_path)
        (tmp_path / CONFIG).write_text("[" * 100_000)
        assert "too many levels" in self.refuse(tmp_path)
        for key, value in (("input_size", [128, -1]), ("input_size", [10**9, 64]), ("std", [0, 1, 1])):
            (tmp_path / CONFIG).write_text(json.dumps({**config, key: value}))
            assert key in self.refuse(tmp_path)
        (tmp_path / CONFIG).write_text(json.dumps({**config, "network": {**config["network"], "channels": 10**20}}))
        assert "network.channels" in self.refuse(tmp_path)
        config["network"]["pooling"] = "gem"
        (tmp_path / CONFIG).write_text(json.dumps(config))
        assert "1 tensors differ, the first is pool.exponent" in self.refuse(tmp_path)
        (tmp_path / WEIGHTS).write_text("no")
        assert "cannot be read" in self.refuse(tmp_path)


@pytest.mark.parametrize("std", [[0.2, 0.0, 0.2], [0.2, -0.1, 0.2], [0.2, 0.2, float("nan")]])
def test_scale_that_gives_no_finite_numbers_is_refused(package: ModelPackage, tmp_path: Path, std: list[float]) -> None:
    package.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"std": std}))
    with pytest.raises(ModelError, match=rf"^{tmp_path}/config.json is not the configuration of a .* \(std\.[12]: "):
        ModelPackage.from_pretrained(tmp_path)
