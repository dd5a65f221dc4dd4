"""Tests of `tools.average`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tools.average import average
from vestigo_models.inference.package import ModelPackage
from vestigo_models.shipped import shipped_folder


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The package `tiny` with other weights and another name."""
    package = ModelPackage.from_pretrained(shipped_folder("tiny"))
    for value in package.network.state_dict().values():
        if value.is_floating_point():
            value.add_(1)
    renamed = package.config.model_copy(update={"name": "trained"})
    ModelPackage(renamed, package.network).save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_are_between_those_of_both_models(trained: Path, share: float) -> None:
    base = ModelPackage.from_pretrained(shipped_folder("tiny"))
    made = average(shipped_folder("tiny"), trained, share)
    assert made.name == "trained"
    for name, value in base.network.state_dict().items():
        expected = value + share if value.is_floating_point() else value
        torch.testing.assert_close(made.network.state_dict()[name], expected, rtol=0, atol=1e-5)


def test_unusable_averages_are_refused_in_one_line(trained: Path) -> None:
    with pytest.raises(SystemExit, match="different networks"):
        average(shipped_folder("small"), trained, 0.5)
    with pytest.raises(SystemExit, match=r"--share 1\.5: give a number from 0 to 1"):
        average(shipped_folder("tiny"), trained, 1.5)
