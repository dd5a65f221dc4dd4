"""`vestigo evaluate` of a model with everything on rendered people, and `vestigo train`'s judgement of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.support.random_models import random_model
from vestigo.datasets.recognise import load_dataset
from vestigo.evaluation.evaluate import evaluate_model
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501
from vestigo_models.schemas.regions import REGIONS
from vestigo_ui.cli.commands import demo
from vestigo_ui.cli.main import run

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "full")


def evaluate(capsys: Captured, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    assert run(["evaluate", *map(str, arguments), "--device", "cpu", "--json"]) == 0
    output = capsys.readouterr()
    return json.loads(output.out), " ".join(output.err.split())


def test_regions_are_evaluated_on_training_images(people: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    images = load_dataset(people).train.paths
    for image in images:
        height, width = read_image(image).shape[:2]
        Image.fromarray(np.full((height, width), 13, dtype=np.uint8)).save(tmp_path / f"{image.stem}.png")
    parser = ("--parser", f"labels:{tmp_path}:lip")
    result, _ = evaluate(capsys, people, "--model", model, "--training-regions", *parser)
    overlap = result["training_regions"]
    assert (overlap["images"], overlap["skipped"], overlap["labels_mean"]) == (len(images), {}, None)
    assert overlap["iou"]["head"] > 0
    assert overlap["iou"]["shoes"] == 0
    assert run(["evaluate", str(people), "--model", str(model), "--device", "cpu", "--training-regions"]) == 2
    assert "are evaluated on the 20 of LIP" in " ".join(capsys.readouterr().err.split())


def test_result_has_ranking_attributes_and_regions(people: Path, model: Path, capsys: Captured) -> None:
    result, _ = evaluate(capsys, people, "--model", model)
    evaluation = evaluate_model(
        load_dataset(people), Extractor(ModelPackage.from_pretrained(model)), EvaluationOptions()
    )
    assert evaluation.attributes is not None
    assert evaluation.regions is not None
    metrics = evaluation.attributes.metrics
    assert result["attributes"] == metrics.official
    assert list(result["attributes"]) == list(MARKET_1501.names)
    assert (result["attributes_mean"], result["attributes_balanced"]) == (metrics.official_mean, metrics.balanced)
    assert result["attributes_labelled_only"] == metrics.labelled_only
    assert result["attributes_recall"] == metrics.recall
    assert result["attributes_images"] == metrics.images
    assert result["regions"] == evaluation.regions.iou
    assert list(result["regions"]) == list(REGIONS.names)
    assert result["regions_mean"] == evaluation.regions.mean
    assert result["regions_two_class"] == evaluation.regions.two_class
    assert result["belongings_auc"] == evaluation.belongings_auc
    assert (result["filter"], result["comparison"], result["notes"]) == (None, None, [])


def test_filter_reports_kept_fraction_and_losses(people: Path, model: Path, capsys: Captured) -> None:
    plain, _ = evaluate(capsys, people, "--model", model)
    result, _ = evaluate(capsys, people, "--model", model, "--filter", "strict")
    measured = result["filter"]
    assert (measured["mode"], measured["threshold"], measured["guaranteed"]) == ("strict", 0.7, False)
    assert 0 < measured["kept_fraction"] <= 1
    assert 0 <= measured["true_matches_lost"] <= 1
    assert measured["speed_up"] > 0
    assert (measured["mAP"], measured["rank1"]) == (result["mAP"], result["cmc"]["1"])
    assert (measured["mAP_without"], measured["rank1_without"]) == (plain["mAP"], plain["cmc"]["1"])
    assert (measured["expected_kept"], measured["expected_lost"]) == (None, None)
    assert "was not measured for this model" in measured["sentence"]
    assert run(["evaluate", str(people), "--model", str(model), "--filter", "auto"]) == 2
    assert "filter auto: the model package has no calibration" in " ".join(capsys.readouterr().err.split())


def test_two_models_are_compared_on_page(people: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    other = random_model(tmp_path / "other", seed=1)
    page = tmp_path / "page.html"
    result, _ = evaluate(capsys, people, "--model", model, "--compare", other, "--html", page)
    alone, _ = evaluate(capsys, people, "--model", other)
    comparison = result["comparison"]
    assert comparison["model"] == alone["model"]
    assert comparison["judged"]["mAP"] == alone["mAP"]
    assert comparison["judged"]["attributes"] == alone["attributes"]
    assert comparison["mAP"].keys() >= {"difference", "low", "high"}
    assert comparison["mAP"]["difference"] == pytest.approx(result["mAP"] - alone["mAP"])
    gained = {name: difference["difference"] for name, difference in comparison["attributes"].items()}
    assert gained == pytest.approx({name: result["attributes"][name] - alone["attributes"][name] for name in gained})
    text = page.read_text("utf-8")
    digests = [each["model"]["digest"][:8] for each in (result, alone)]
    assert f"random ({digests[0]}) compared with random ({digests[1]})" in text
    assert "http" not in text


def test_model_without_attributes_is_compared_unfiltered(
    people: Path, model: Path, tmp_path: Path, capsys: Captured
) -> None:
    plain = random_model(tmp_path / "plain", name="plain", schema=None, regions=None)
    result, output = evaluate(capsys, people, "--model", model, "--compare", plain, "--filter", "0.5")
    assert "plain predicts no attributes to filter by: it is evaluated without the filter" in output
    assert result["comparison"]["judged"]["filter"] is None
    assert result["comparison"]["attributes"] == {}
    assert run(["evaluate", str(people), "--model", str(plain), "--filter", "0.5"]) == 2
    assert "model plain predicts no attributes to filter by" in " ".join(capsys.readouterr().err.split())


def test_other_schema_is_noted(people: Path, tmp_path: Path, capsys: Captured) -> None:
    duke = random_model(tmp_path / "duke", schema=DUKEMTMC_REID)
    result, output = evaluate(capsys, people, "--model", duke)
    assert (result["attributes"], result["attributes_mean"]) == ({}, None)
    (note,) = result["notes"]
    assert note in output
    assert "dukemtmc-reid" in note
    assert "market-1501" in note


def test_metrics_are_printed(people: Path, model: Path, capsys: Captured) -> None:
    assert run(["evaluate", str(people), "--model", str(model), "--compare", "default", "--filter", "0.5"]) == 0
    shown = capsys.readouterr().out
    for beginning in ("attributes: ", "regions: mean IoU", "belongings: AUC", "filter fixed: ", "compared with "):
        assert beginning in shown


def test_demo_reports_attributes(people: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "evaluation.html"
    figures = demo.evaluate(people, page, lambda done, total: None, str(model))
    evaluation = evaluate_model(
        load_dataset(people), Extractor(ModelPackage.from_pretrained(model)), EvaluationOptions()
    )
    assert evaluation.attributes is not None
    assert figures["attributes"] == evaluation.attributes.metrics.official_mean
    assert figures["mAP"] == evaluation.metrics.mAP
    assert "Predicted attributes of some images" in page.read_text("utf-8")


def test_training_reports_same_metrics_as_evaluate(people: Path, tmp_path: Path, capsys: Captured) -> None:
    recipe = tmp_path / "recipe.yaml"
    network = {"backbone": "tiny", "neck": "concat", "channels": 16, "regions": 6, "attributes": "regions", "awm": True}
    settings = {"network": network, "input_size": [64, 32], "epochs": 1, "batch_identities": 2}
    recipe.write_text(yaml.safe_dump(settings | {"images_per_identity": 2, "fls_start_epoch": 1}))
    out = tmp_path / "model"
    assert run(["train", str(recipe), "--data", str(people), "--out", str(out), "--device", "cpu", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    judged, _ = evaluate(capsys, people, "--model", out)
    shared = result["metrics"].keys() & judged.keys()
    assert {"mAP", "mINP", "cmc", "queries", "attributes", "attributes_mean", "regions"} <= shared
    assert {key: result["metrics"][key] for key in shared} == {key: judged[key] for key in shared}
    package = ModelPackage.from_pretrained(out)
    assert package.schema is not None
    assert package.schema.digest == MARKET_1501.digest
    (people / "market_attribute.mat").rename(tmp_path / "kept.mat")
    try:
        arguments = ["train", str(recipe), "--data", str(people), "--out", str(tmp_path / "b"), "--device", "cpu"]
        assert run(arguments) == 2
        assert "attributes are needed, but market_attribute.mat is not in it" in " ".join(
            capsys.readouterr().err.split()
        )
    finally:
        (tmp_path / "kept.mat").rename(people / "market_attribute.mat")
