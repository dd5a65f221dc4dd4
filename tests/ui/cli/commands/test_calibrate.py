"""`vestigo calibrate`: what it finds stands in the package, and the filters that need it work from then on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.random_models import random_model
from vestigo.datasets.recognise import load_dataset
from vestigo.evaluation.calibrate import calibrate_model
from vestigo_models.inference.package import ModelPackage
from vestigo_ui.cli.main import run

Captured = pytest.CaptureFixture[str]


def test_calibration_is_written_and_used(people: Path, tmp_path: Path, capsys: Captured) -> None:
    model = random_model(tmp_path / "model")
    expected = calibrate_model(ModelPackage.from_pretrained(model), load_dataset(people), measured_on="six people")
    options = ["--model", str(model), "--data", str(people), "--device", "cpu"]
    assert run(["calibrate", *options, "--measured-on", "six people", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    package = ModelPackage.from_pretrained(model)
    assert package.calibration == expected.calibration
    assert (result["model"], result["digest"]) == (str(model), package.digest)
    assert (result["identities"], result["fitted"], result["images"]) == (6, 2, expected.images)
    assert result["temperatures"] == expected.calibration.temperatures
    assert (result["error_before"], result["error_after"]) == (expected.error_before, expected.error_after)
    assert result["filter"].keys() == {"0.01", "0.02", "0.05"}
    assert not any(answer["on"] for answer in result["filter"].values())
    assert run(["evaluate", str(people), "--model", str(model), "--filter", "soft", "--device", "cpu", "--json"]) == 0
    assert "chosen on six people" in json.loads(capsys.readouterr().out)["filter"]["sentence"]


def test_metrics_are_printed(people: Path, tmp_path: Path, capsys: Captured) -> None:
    model = random_model(tmp_path / "model")
    assert run(["calibrate", "--model", str(model), "--data", str(people), "--split", "train"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "6 identities, 36 images of the train split of people" in shown
    assert "calibration error: " in shown
    assert "auto, at most 1 % lost (4 identities): the filter stays off" in shown


def test_usage_errors_are_one_line(people: Path, tmp_path: Path, capsys: Captured) -> None:
    def refused(model: str) -> str:
        assert run(["calibrate", "--model", model, "--data", str(people)]) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "written into the package, so give its folder" in refused("default")
    plain = random_model(tmp_path / "plain", name="plain", schema=None)
    before = sorted((path.name, path.read_bytes()) for path in plain.iterdir())
    assert "model plain predicts no attributes" in refused(str(plain))
    assert sorted((path.name, path.read_bytes()) for path in plain.iterdir()) == before
