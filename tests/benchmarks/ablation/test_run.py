"""The ablation: each cell is committed alone, goes on after a crash at any stage, and is never done twice."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo_benchmarks.ablation import cell as ablation_cell
from vestigo_benchmarks.ablation.cell import IDENTITIES, RESULT, AblationCell, run_cell
from vestigo_benchmarks.ablation.processes import CellEvent
from vestigo_benchmarks.ablation.recipe import CONFIGS, AblationRecipe
from vestigo_benchmarks.ablation.run import AblationResult, ablate
from vestigo_models.errors import ConfigError, DatasetError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.parsing.registry import make_parser
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.relabel import parse_labels
from vestigo_models.training.state import feature_grid

pytestmark = pytest.mark.slow

SMALL = {
    "input_size": [64, 32],
    "batch_identities": 4,
    "images_per_identity": 2,
    "network.channels": 64,
    "relabel_every": 1,
    "fls_start_epoch": 1,
}
RECIPE = AblationRecipe(backbone="tiny", epochs=2, overrides=SMALL)
TIMED = ("seconds", "judging_seconds", "cpu_seconds")


class Stopped(BaseException):
    """The process ends here."""


def stop(*_: object, **__: object) -> NoReturn:
    raise Stopped


@pytest.fixture(scope="module")
def dataset(people: Path) -> ReidDataset:
    return load_dataset(people)


@pytest.fixture(scope="module")
def parsed(dataset: ReidDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parsed") / "parsed.npz"
    labels = parse_labels(dataset.train.paths, make_parser("default"), feature_grid(RECIPE.config("full", 1)))
    np.savez(path, labels=labels)
    return path


@pytest.fixture(scope="module")
def undisturbed(dataset: ReidDataset, parsed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return done(cell_of(dataset, parsed, tmp_path_factory.mktemp("undisturbed") / "full"))


def cell_of(dataset: ReidDataset, parsed: Path, folder: Path) -> AblationCell:
    recipe = RECIPE.config("full", 1)
    return AblationCell(
        config="full", seed=1, recipe=recipe, dataset=dataset, folder=folder, parsed=parsed, device="cpu"
    )


def done(cell: AblationCell) -> dict[str, Any]:
    """Run a cell to its end and return what it found, without what time decides."""
    run_cell(cell)
    result = json.loads((cell.folder / RESULT).read_text())
    assert all(result.pop(key) > 0 for key in TIMED)
    for trial in result["filter"]:
        del trial["speed_up"]
    identities = json.loads((cell.folder / IDENTITIES).read_text())
    return {**result, "identities": identities, "digest": ModelPackage.from_pretrained(cell.folder).digest}


def test_recipe_changes_named_settings_only() -> None:
    for name in CONFIGS:
        ours = AblationRecipe(backbone="tiny").config(name, 7)
        theirs = TrainConfig.load(name, backbone="tiny")
        changed = {key for key, value in ours.model_dump().items() if value != theirs.model_dump()[key]}
        assert changed == {"epochs", "seed", "augmentation", "relabel_every", "fls_start_epoch"}
        assert (ours.epochs, ours.seed, ours.relabel_every, ours.fls_start_epoch) == (20, 7, 5, 6)
        output = ours.augmentation.model_dump(exclude_defaults=True)
        assert output == {"pad": 5, "erase_area": (0.02, 0.3)}
    real = AblationRecipe(backbone="tiny", recipe="real").config("full", 7)
    assert (real.schedule, real.optimiser, real.augmentation.pad) == ("one_cycle", "adamw", 5)
    large = AblationRecipe(backbone="resnet50", weights="imagenet/").config("full", 1)
    assert (large.augmentation.pad, large.weights) == (10, "imagenet/")
    with pytest.raises(ConfigError, match="no configuration 'ful' in the ablation; choose of baseline"):
        RECIPE.config("ful", 1)


@pytest.mark.parametrize("backbone", ["tiny", "resnet50", "convnext"])
@pytest.mark.parametrize("name", CONFIGS)
def test_full_training_has_the_recipe_of_train(name: str, backbone: str) -> None:
    ours = AblationRecipe(backbone=backbone, epochs=120).config(name, 7)
    assert ours == TrainConfig.load(name, {"epochs": 120, "seed": 7}, backbone=backbone)


def test_result_has_every_field(dataset: ReidDataset, undisturbed: dict[str, Any]) -> None:
    assert (undisturbed["config"], undisturbed["seed"], undisturbed["epochs"]) == ("full", 1, 2)
    assert undisturbed["metrics"]["queries"] == len(dataset.query)
    assert undisturbed["metrics"]["gallery"] == len(dataset.gallery)
    assert list(undisturbed["attributes"]["official"]) == list(dataset.schema.names)
    assert list(undisturbed["labels"]) == ["foreground", "head", "upper", "lower", "shoes", "belongings"]
    assert undisturbed["labels"]["foreground"] > 50
    people = undisturbed["identities"]["retrieval"]
    assert people["pids"] == np.unique(dataset.query.pids).tolist()
    for key in ("mAP", "rank1"):
        assert sum(people[key]) / sum(people["images"]) == pytest.approx(undisturbed["metrics"][key])
    people = undisturbed["identities"]["attributes"]
    assert sum(people["images"]) == dataset.gallery.labelled.sum()
    for name, official in undisturbed["attributes"]["official"].items():
        assert sum(people["official"][name]) / sum(people["images"]) == pytest.approx(official)
    assert undisturbed["losses"].keys() >= {"total", "identity", "parsing", "attributes"}
    assert [trial["mode"] for trial in undisturbed["filter"]][:3] == ["off", "strict", "quality"]


@pytest.mark.parametrize("stage", ["first epoch", "last epoch", "judging", "writing"])
def test_stopped_at_any_stage_it_ends_the_same(
    stage: str,
    dataset: ReidDataset,
    parsed: Path,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = cell_of(dataset, parsed, tmp_path / "full")

    def report(epoch: int) -> None:
        if stage in ("first epoch", "last epoch") and epoch == (1 if stage == "first epoch" else 2):
            stop()

    write = ablation_cell.write_json

    def dying_write(path: Path, value: Any, **options: Any) -> None:
        (stop if path.name == RESULT else write)(path, value, **options)

    with monkeypatch.context() as broken:
        if stage == "judging":
            broken.setattr(ablation_cell, "evaluate_model", stop)
        if stage == "writing":
            broken.setattr(ablation_cell, "write_json", dying_write)
        with pytest.raises(Stopped):
            run_cell(cell, report)
    assert not cell.is_done
    assert done(cell) == undisturbed


def test_a_finished_cell_is_left_alone(
    dataset: ReidDataset, parsed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = cell_of(dataset, parsed, tmp_path / "full")
    cell.folder.mkdir()
    (cell.folder / RESULT).write_text("{}")
    monkeypatch.setattr(ablation_cell, "train", stop)
    run_cell(cell)
    assert (cell.folder / RESULT).read_text() == "{}"


Run = Callable[..., AblationResult]


@pytest.fixture(scope="module")
def run(dataset: ReidDataset) -> Run:
    def run(out: Path, recipe: AblationRecipe = RECIPE, **changes: Any) -> AblationResult:
        settings = {"configs": ["baseline", "parser"], "seeds": [1], "device": "cpu", "jobs": 2, "command": "ablate"}
        return ablate(changes.pop("dataset", dataset), out, recipe, **{**settings, **changes})

    return run


@pytest.fixture(scope="module")
def finished(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation of two configurations in two processes."""
    out = tmp_path_factory.mktemp("ablations") / "out"
    received: list[tuple[CellEvent, int, int]] = []
    result = run(out, on_event=lambda *event: received.append(event))
    assert (result.cells, result.trained, result.failures) == (2, 2, ())
    epochs = sorted((event.cell.config, event.epoch) for event, _, _ in received if event.epoch is not None)
    assert epochs == [("baseline", 1), ("baseline", 2), ("parser", 1), ("parser", 2)]
    last, done, total = received[-1]
    assert (last.epoch, done, total) == (None, 2, 2)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_on_a_finished_folder_only_the_tables_are_written(finished: Path, run: Run) -> None:
    before = contents(finished)
    assert {row["config"] for row in json.loads(before["ablation.json"])["table"]["table5"]} == {"baseline", "parser"}
    (finished / "ablation.md").unlink()
    result = run(finished)
    assert (result.cells, result.trained) == (2, 0)
    assert contents(finished) == before
    assert result.table == json.loads(before["ablation.json"])["table"]


def test_parser_runs_once(finished: Path, dataset: ReidDataset, parsed: Path) -> None:
    with np.load(finished / "parsed.npz") as ours, np.load(parsed) as theirs:
        np.testing.assert_array_equal(ours["labels"], theirs["labels"])
        assert str(ours["parser"]) == make_parser("default").digest


def test_another_dataset_or_recipe_is_refused(finished: Path, run: Run, people: Path, tmp_path: Path) -> None:
    copy = tmp_path / "people"
    shutil.copytree(people, copy)
    image = next((copy / "query").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    before = contents(finished)
    with pytest.raises(ConfigError, match="holds an ablation on people with other images or labels"):
        run(finished, dataset=load_dataset(copy))
    with pytest.raises(ConfigError, match="holds an ablation with another recipe: epochs 2 there, 3 now"):
        run(finished, replace(RECIPE, epochs=3))
    with pytest.raises(ConfigError, match="with another recipe: parser 'default' there"):
        run(finished, replace(RECIPE, parser="labels:maps"))
    with (finished / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another ablation works in this folder"):
            run(finished)
    assert contents(finished) == before


class Deadly:
    """Whoever unpickles this dies at once, as a process without memory does."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_failed_or_killed_cell_does_not_stop_others(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A neck of 16 channels cannot be built: `control` fails, the baseline has none.
    narrow = replace(RECIPE, overrides={**SMALL, "network.channels": 16})
    result = run(tmp_path / "out", narrow, configs=["control", "baseline"])
    assert [(failed.config, failed.seed) for failed in result.failures] == [("control", 1)]
    assert "network.channels=16" in result.failures[0].reason
    assert (result.cells, result.trained) == (1, 1)
    output = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [failure["config"] for failure in output["failed"]] == ["control"]

    whole = AblationCell.__getstate__
    monkeypatch.setattr(AblationCell, "__getstate__", lambda cell: {**whole(cell), "device": Deadly()})
    result = run(tmp_path / "out", narrow, configs=["control"])
    assert "its process died (exit status 9)" in result.failures[0].reason


def test_attributes_are_needed_before_anything_is_trained(people: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "people"
    shutil.copytree(people, copy)
    (copy / "market_attribute.mat").unlink()
    with pytest.raises(DatasetError, match="attributes are needed"):
        run(tmp_path / "out", dataset=load_dataset(copy), configs=["baseline", "alm"])
    assert not (tmp_path / "out").exists()
