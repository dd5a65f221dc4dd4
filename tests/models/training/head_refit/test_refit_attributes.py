"""The tool that refits the attribute heads of a shipped model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tools.refit_attributes import main
from vestigo.datasets.synthetic import write_rendered
from vestigo_models.inference.package import ModelPackage
from vestigo_models.shipped import shipped_folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["refit_attributes", *map(str, arguments)])
    main()


def test_only_heads_and_their_calibration_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rendered(tmp_path / "people", "small", 8, 2, 1, seed=3, processes=1)
    run(monkeypatch, "tiny", tmp_path / "refitted", "--data", tmp_path / "people", "--pull", "10")
    before, after = (ModelPackage.from_pretrained(path) for path in (shipped_folder("tiny"), tmp_path / "refitted"))
    old, new = before.network.state_dict(), after.network.state_dict()
    changed = {name for name in old if not torch.equal(old[name].half(), new[name].half())}
    assert changed
    assert {name.split(".")[0] for name in changed} <= {"heads", "reweight"}
    assert before.calibration is not None
    assert after.calibration is not None
    assert (after.calibration.temperatures, after.calibration.filter) == (before.calibration.temperatures, None)


def test_missing_dataset_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="nowhere"):
        run(monkeypatch, "tiny", tmp_path / "refitted", "--data", tmp_path / "nowhere")
    assert not (tmp_path / "refitted").exists()
