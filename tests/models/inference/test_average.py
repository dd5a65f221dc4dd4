"""Averages of the weights of two packages, and the tool that writes one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tools.average import main
from vestigo_models.errors import ConfigError
from vestigo_models.inference.average import average_packages
from vestigo_models.inference.package import ModelPackage
from vestigo_models.shipped import shipped_folder


@pytest.fixture
def base() -> ModelPackage:
    return ModelPackage.from_pretrained(shipped_folder("tiny"))


@pytest.fixture
def trained(base: ModelPackage, tmp_path: Path) -> Path:
    """The package `tiny` with other weights and another name."""
    package = ModelPackage.from_pretrained(shipped_folder("tiny"))
    for value in package.network.state_dict().values():
        if value.is_floating_point():
            value.add_(1)
    renamed = package.config.model_copy(update={"name": "trained"})
    ModelPackage(renamed, package.network).save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_are_between_those_of_both_models(base: ModelPackage, trained: Path, share: float) -> None:
    before = {name: value.clone() for name, value in base.network.state_dict().items()}
    package = ModelPackage.from_pretrained(trained)
    made = average_packages(base, package, share)
    assert made.name == "trained"
    for name, value in before.items():
        expected = value + share if value.is_floating_point() else value
        torch.testing.assert_close(made.network.state_dict()[name], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(base.network.state_dict()[name], value, rtol=0, atol=0)
    assert (made.digest == package.digest) == (share == 1.0)


def test_unusable_averages_are_refused(base: ModelPackage, trained: Path) -> None:
    package = ModelPackage.from_pretrained(trained)
    with pytest.raises(ConfigError, match="different networks"):
        average_packages(ModelPackage.from_pretrained(shipped_folder("small")), package, 0.5)
    with pytest.raises(ConfigError, match=r"share 1\.5: give a number from 0 to 1"):
        average_packages(base, package, 1.5)


def test_tool_writes_package_or_says_in_one_line_why_not(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["average", "tiny", str(trained), str(tmp_path / "out"), "--share", "0.5"])
    main()
    assert ModelPackage.from_pretrained(tmp_path / "out").name == "trained"
    monkeypatch.setattr(sys, "argv", ["average", "small", str(trained), str(tmp_path / "other")])
    with pytest.raises(SystemExit, match="different networks"):
        main()
