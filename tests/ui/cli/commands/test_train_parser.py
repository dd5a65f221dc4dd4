"""`vestigo train-parser` on a handful of rendered people."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from vestigo.datasets.synthetic import write_rendered
from vestigo_models.inference.images import read_image
from vestigo_models.parsing.registry import make_parser
from vestigo_ui.cli.main import run

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "people"
    write_rendered(root, "small", 4, 2, 2, seed=6, processes=1, behind=True)
    return root


def naive_iou(dataset: Path, folder: str, model: Path) -> dict[str, float]:
    """IoU by sets of pixels, each image parsed alone."""
    parser = make_parser(f"package:{model}")
    names = parser.label_set.classes
    truth_of: dict[int, set[tuple[str, int, int]]] = {k: set() for k in range(len(names))}
    found_of: dict[int, set[tuple[str, int, int]]] = {k: set() for k in range(len(names))}
    for path in [*dataset.glob("query/*.jpg"), *dataset.glob("bounding_box_test/*.jpg")]:
        if path.name.startswith("-1"):
            continue
        truth = cv2.imread(str(dataset / folder / path.parent.name / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        labels = parser.parse(read_image(path), path.name).labels
        for row, column in np.ndindex(truth.shape):
            truth_of[truth[row, column] % 5].add((path.name, row, column))
            found_of[labels[row, column]].add((path.name, row, column))
    return {name: len(truth_of[k] & found_of[k]) / len(truth_of[k] | found_of[k]) for k, name in enumerate(names)}


@pytest.mark.parametrize(("hidden_by", "folder"), [("regions", "regions"), ("behind", "regions-behind")])
def test_parser_is_trained_and_evaluated(
    dataset: Path, tmp_path: Path, capsys: Captured, hidden_by: str, folder: str
) -> None:
    model = tmp_path / "parser"
    options = ["--data", str(dataset), "--out", str(model), "--epochs", "2", "--device", "cpu"]
    assert run(["train-parser", *options, "--hidden-by", hidden_by, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == str(model)
    assert (result["epochs"], result["images"], result["judged_images"]) == (2, 8, 10)
    assert result["losses"].keys() == {"total", "cross_entropy", "dice"}
    assert result["regions"] == pytest.approx(naive_iou(dataset, folder, model), abs=1e-12)
    trained_on = json.loads((model / "config.json").read_text())["trained_on"]
    option_text = (
        f"--epochs 2 --seed 0 --hidden-by {hidden_by} --hidden-weight 1 --learning-rate 0.003 --precision float32"
    )
    assert trained_on["command"] == f"vestigo train-parser --data people {option_text}"


def test_metrics_are_printed(dataset: Path, tmp_path: Path, capsys: Captured) -> None:
    options = ["--data", str(dataset), "--out", str(tmp_path / "p"), "--epochs", "1", "--device", "cpu"]
    assert run(["train-parser", *options]) == 0
    shown = capsys.readouterr().out
    assert "IoU on 10 images: background" in shown
    assert f"package:{tmp_path / 'p'}" in shown.replace("\n", "")


def test_dataset_without_label_maps_is_refused(dataset: Path, tmp_path: Path, capsys: Captured) -> None:
    copy = tmp_path / "people"
    shutil.copytree(dataset, copy)
    shutil.rmtree(copy / "regions-behind")

    def refused(*arguments: str) -> str:
        assert run(["train-parser", "--data", str(copy), "--out", str(tmp_path / "p"), *arguments]) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "`vestigo render --behind` writes such datasets" in refused("--hidden-by", "behind")
    next((copy / "regions" / "query").glob("*.png")).unlink()
    assert "1 images have no label map" in refused()
    shutil.rmtree(copy / "regions")
    assert "has no regions/ with a label map for each image" in refused()
    assert not (tmp_path / "p").exists()


def test_training_continues_from_another_parser(dataset: Path, tmp_path: Path, capsys: Captured) -> None:
    options = ["--data", str(dataset), "--epochs", "1", "--device", "cpu"]
    more = ["--base", "default", "--hidden-weight", "2", "--learning-rate", "1e-4", "--json"]
    assert run(["train-parser", *options, "--out", str(tmp_path / "p"), *more]) == 0
    result = json.loads(capsys.readouterr().out)
    assert min(result["regions"].values()) > 0.4
    command = json.loads((tmp_path / "p" / "config.json").read_text())["trained_on"]["command"]
    assert command.endswith("--hidden-weight 2 --learning-rate 0.0001 --precision float32 --base default")
    assert run(["train-parser", *options, "--out", str(tmp_path / "q"), "--base", str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err
