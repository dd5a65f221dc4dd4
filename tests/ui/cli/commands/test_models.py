"""The registry as people meet it: from two models and an archive to a promotion, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.archives import write_crops
from tests.support.random_models import random_model
from vestigo.datasets.recognise import load_dataset
from vestigo.promotion.gate import GATE, Margins, decide_promotion, gate_record, has_passed
from vestigo.promotion.judge import split_name
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_ui.cli.main import run

pytestmark = pytest.mark.slow

Command = Callable[..., dict[str, Any]]
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: random_model(folder / name, name=name, seed=seed) for seed, name in enumerate(("old", "new"))}


@pytest.fixture
def digests(models: dict[str, Path]) -> dict[str, str]:
    return {name: ModelPackage.from_pretrained(folder).digest for name, folder in models.items()}


@pytest.fixture
def vestigo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str | Path) -> dict[str, Any]:
        command = [*map(str, arguments), "--store", str(tmp_path / "store")]
        assert run([*command, "--json"]) == 0, capsys.readouterr().err
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    def call(*arguments: str | Path) -> str:
        assert run([*map(str, arguments), "--store", str(tmp_path / "store")]) == 2
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return " ".join(shown.err.split())

    return call


@pytest.fixture
def archive(tmp_path: Path, vestigo: Command, models: dict[str, Path]) -> Path:
    """A folder of crops that the old model indexed; the new one is in the registry, trained from it."""
    folder = write_crops(tmp_path / "crops", 6)
    pool = ("--executor", "inline", "--device", "cpu")
    vestigo("index", folder, "--detector", "none", "--model", models["old"], *pool)
    package = ModelPackage.from_pretrained(models["new"])
    with Store.open(tmp_path / "store") as store:
        store.models.register(package.digest, name="new", location=str(models["new"]), facts=ModelFacts.of(package))
        store.models.record_training(package.digest, store.runs.list()[0].model, {"label_set": 1})
    return folder


def test_promoted_model_is_searched_until_rollback(
    archive: Path, vestigo: Command, refused: Refused, digests: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    picture = archive / "003.jpg"
    listed = vestigo("models", "list")
    assert [(row["name"], row["crops"], row["serving"]) for row in listed["models"]] == [
        ("new", 0, False),
        ("old", 6, False),
    ]
    assert listed["models"][0]["parent"] == digests["old"]
    # The newest in the registry has no crops yet: it changes nothing.
    assert vestigo("search", picture)["model"] == digests["old"]
    line = refused("models", "promote", "new")
    assert "new (" in line
    assert "has not been compared with the serving model" in line
    assert "--force and --reason TEXT" in line
    assert "--force and --reason" in refused("models", "promote", "new", "--force")
    made = vestigo("models", "promote", digests["new"][:8], "--force", "--reason", "for a test", "--by", "ann")
    assert (made["serving"], made["before"], made["by"]) == (digests["new"], None, "ann")
    assert (made["reasons"], made["stale_crops"]) == (["for a test"], 6)
    assert "serves already" in refused("models", "promote", "new", "--force", "--reason", "again")

    with Store.open(archive.parent / "store") as store:
        crop = next(store.crops.scan(["crop_id"])).column("crop_id")[0].as_py()
    commands = [["search", picture], ["search", crop], ["search", "--where", "gender=female"]]
    commands += [["rank", archive, "--name", "r"], ["rank", "--each-tracklet", "--name", "r"]]
    # The promoted model has no crops yet: the one before it answers until the archive is indexed again.
    for command in commands:
        assert vestigo(*command)["model"] == digests["old"]
    for name in ("old", digests["old"][:6]):
        assert vestigo("search", picture, "--model", name)["model"] == digests["old"]
        assert vestigo("search", "--where", "gender=female", "--model", name)["compared"] == 6
        assert vestigo("rank", archive, "--name", "r", "--model", name)["model"] == digests["old"]
    assert f"no crops of model {digests['new'][:12]}; it holds old" in refused("search", picture, "--model", "new")

    again = vestigo("index", "--reindex-stale", "--device", "cpu")
    assert (again["model"], again["stale"], again["gone"]) == (digests["new"], 0, [])
    assert [(done["status"], done["crops"]) for done in again["runs"]] == [("succeeded", 6)]
    assert vestigo("search", picture)["model"] == digests["new"]
    assert vestigo("store", "check")["problems"] == []

    shown = vestigo("models", "show", "new")
    assert (shown["serving"], shown["crops"], shown["origin"]) == (True, 6, {"label_set": 1})
    assert shown["facts"]["attribute_schema"]["name"] == MARKET_1501.name
    assert [made["kind"] for made in shown["promotions"]] == ["promotion"]
    back = vestigo("models", "rollback", "--reason", "worse at night", "--by", "ben")
    assert (back["kind"], back["serving"], back["before"]) == ("rollback", None, digests["new"])
    assert "nothing to roll back" in refused("models", "rollback")
    for command in (["models", "list"], ["models", "show", "new"], ["index", "--reindex-stale"]):
        assert run([*command, "--store", str(archive.parent / "store")]) == 0
    assert "rollback of" in capsys.readouterr().out


def test_passed_model_needs_no_reason_against_same_serving_model(
    archive: Path, vestigo: Command, refused: Refused, digests: dict[str, str]
) -> None:
    from vestigo.evaluation.metrics.bootstrap import Difference

    hat = Difference(difference=-7.3, low=-9.1, high=-5.2, chance=0.001, identities=40)
    verdict = decide_promotion({"hat": hat})
    with Store.open(archive.parent / "store") as store:
        store.models.record_scores(digests["new"], gate_record(verdict, None, {"hat": hat}))
    assert "was refused by the gate (hat: -7.3 points (95 % -9.1 to -5.2 on 40 identities)" in refused(
        "models", "promote", "new"
    )
    better = Difference(difference=7.3, low=5.2, high=9.1, chance=0.001, identities=40)
    verdict = decide_promotion({"hat": better}, Margins())
    with Store.open(archive.parent / "store") as store:
        store.models.record_scores(digests["new"], gate_record(verdict, None, {"hat": better}))
        scores = store.models.find("new").scores  # type: ignore[union-attr]
    assert scores[GATE]["differences"]["hat"]["low"] == 5.2
    assert has_passed(scores, None)
    assert not has_passed(scores, digests["old"])
    assert not has_passed({}, None)
    assert vestigo("models", "promote", "new")["reasons"] == list(verdict.reasons)
    vestigo("models", "rollback")
    vestigo("models", "promote", "old", "--force", "--reason", "first")
    assert "compared with the serving model by the gate" in refused("models", "promote", "new")


@pytest.fixture
def people(write_dataset: Any) -> Path:
    """A dataset whose images differ, so that two models of random weights rank and judge them differently."""
    test = [(pid, camera) for pid in range(1, 9) for camera in (1, 2)]
    folder: Path = write_dataset(query=[(pid, 1) for pid in range(1, 9)], gallery=test, columns={})
    for path in [*folder.glob("query/*.jpg"), *folder.glob("bounding_box_test/*.jpg")]:
        seed = int(path.name[:4]) * 10 + int(path.name[6])
        noise = np.random.default_rng(seed).integers(0, 255, (16, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(noise, (32, 64)))
    return folder


def test_two_models_are_compared(
    archive: Path, people: Path, vestigo: Command, refused: Refused, models: dict[str, Path], digests: dict[str, str]
) -> None:
    from vestigo.evaluation.evaluate import compare, evaluate_model
    from vestigo.evaluation.ranking import EvaluationOptions
    from vestigo_models.inference.extractor import Extractor

    assert "have no recorded score" in refused("models", "compare", "old", "new")
    comparison = vestigo("models", "compare", "old", models["new"], "--data", people, "--device", "cpu")
    name = split_name(load_dataset(people))
    judged = [
        evaluate_model(
            load_dataset(people), Extractor(ModelPackage.from_pretrained(models[which]), "cpu"), EvaluationOptions()
        )
        for which in ("old", "new")
    ]
    differences = compare(judged[1], judged[0]).measures()
    assert comparison["judged"].keys() == {name}
    measures = comparison["judged"][name]
    assert measures.keys() == {"mAP", *MARKET_1501.names}
    assert measures["mAP"]["a"] == pytest.approx(judged[0].metrics.mAP)
    assert measures["mAP"]["b"] == pytest.approx(judged[1].metrics.mAP)
    for measure, difference in differences.items():
        assert difference is not None
        row = measures[measure]
        assert (row["difference"], row["low"]) == pytest.approx((difference.difference, difference.low))
        assert row["b"] - row["a"] == pytest.approx(row["difference"], abs=1e-6)
        assert row["identities"] == 8
    assert comparison["verdict"] == json.loads(json.dumps(asdict(decide_promotion(differences))))
    assert (comparison["a"]["digest"], comparison["b"]["digest"]) == (digests["old"], digests["new"])
    stored = vestigo("models", "compare", "old", "new")
    assert stored["judged"][name]["mAP"]["b"] == measures["mAP"]["b"]
    assert (stored["judged"][name]["mAP"]["low"], stored["verdict"]) == (None, None)
    assert vestigo("models", "show", "new")["scores"][name]["attributes_mean"] == pytest.approx(
        judged[1].attributes.metrics.official_mean  # type: ignore[union-attr]
    )
    for more in ([], ["--data", people]):
        assert run(["models", "compare", "old", "new", *map(str, more), "--store", str(archive.parent / "store")]) == 0


def test_candidate_without_attributes_is_refused(archive: Path, people: Path, refused: Refused, tmp_path: Path) -> None:
    bare = random_model(tmp_path / "bare", name="bare", schema=None)
    line = refused("models", "compare", "old", bare, "--data", people)
    assert "bare (" in line
    assert "cannot follow old (" in line
    assert "it predicts none" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "show", "neither"], "model 'neither': no package folder, and not in the registry"),
        (["search", "PICTURE", "--model", "neither"], "which holds new ("),
        (["index", "CROPS", "--model", "neither"], "give one of these, `default`, a folder or `hub:ID`"),
        (["regions", "RUN", "--fls", "--model", "neither"], "no package folder, and not in the registry"),
        (["index"], "nothing to index: name a SOURCE, or give --reindex-stale"),
        (["index", "--reindex-stale", "--camera", "gate", "--fps", "2"], "--camera, --fps: without SOURCES every run"),
        (["index", "--reindex-stale", "--dry-run"], "--dry-run: without SOURCES"),
    ],
)
def test_usage_errors_are_one_line(archive: Path, refused: Refused, arguments: list[str], message: str) -> None:
    places = {"PICTURE": str(archive / "000.jpg"), "CROPS": str(archive)}
    assert message in refused(*[places.get(argument, argument) for argument in arguments])
