"""`vestigo label`, `precision`, `retrain` and `loop` as far as they go without a server, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.review_archive import SCHEMA, answer, fill, people
from vestigo.review.sampling.sample import SamplingRequest, sample_tasks, save_sample
from vestigo.store.open import Store
from vestigo.store.review.records import Annotation
from vestigo_ui.cli.main import run

COUNT = 40


@pytest.fixture
def store(tmp_path: Path) -> Path:
    fill(tmp_path / "s", people(COUNT)[0])
    return tmp_path / "s"


@pytest.fixture
def reviewed(store: Path) -> Path:
    with Store.open(store) as opened:
        opened.review.ensure_project("spring", SCHEMA)
        (model,) = opened.models.list()
        save_sample(
            opened, "spring", sample_tasks(opened, "spring", model, SamplingRequest(strategy="random", budget=COUNT))
        )
        answer(opened, "spring", people(COUNT)[1])
        (page,) = opened.review.tasks("spring")
        run_json = opened.annotations.get("spring", [page[0].key])[page[0].key]
        other = {"no": "yes", "yes": "no"}[run_json[0].answers["hat"]]
        second = Annotation(10**6, "ben", run_json[0].answered, {**run_json[0].answers, "hat": other})
        opened.annotations.replace("spring", {page[0].key: [*run_json, second]})
    return store


@pytest.fixture
def run_output(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def ran(*arguments: object) -> str:
        capsys.readouterr()
        assert run([*map(str, arguments)]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return ran


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def ran(*arguments: object) -> str:
        capsys.readouterr()
        assert run([*map(str, arguments)]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    return ran


def run_json(run_output: Callable[..., str], *arguments: object) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run_output(*arguments, "--json"))
    return result


def test_status_counts_tasks_annotations_and_conflicts(reviewed: Path, run_output: Callable[..., str]) -> None:
    status = run_json(run_output, "label", "status", "--store", reviewed, "--project", "spring")
    assert (status["tasks"], status["reviewed"], status["conflicts"], status["waiting"]) == (COUNT, COUNT, 1, COUNT)
    assert status["reviewers"] == {"ana": COUNT, "ben": 1}
    assert status["attributes"]["colour"]["answered"] == COUNT
    assert status["corrections"] == sum(attribute["corrected"] for attribute in status["attributes"].values()) > 0
    text = run_output("label", "status", "--store", reviewed, "--project", "spring")
    assert f"{COUNT} of {COUNT} tasks reviewed" in text
    assert "conflict: task" in text
    assert "run the push again" in text


def test_precision_reports_confidence_intervals(reviewed: Path, run_output: Callable[..., str]) -> None:
    precision = run_json(run_output, "precision", "--store", reviewed)
    hat = precision["attributes"]["hat"]
    assert precision["digest"] == MODEL
    assert 0.5 < hat["low"] <= hat["accuracy"] <= hat["high"] <= 1
    assert hat["reviewed"] == COUNT - 1
    assert set(hat["values"]) == {"no", "yes"}
    assert {"precision", "recall"} <= set(hat["values"]["yes"])
    assert hat["coverage"] == 1
    assert set(precision["cameras"]) == {"c1", "c2"}
    assert list(precision["periods"]) == ["2026-05"]
    text = run_output("precision", "--store", reviewed, "--by", "camera", "--values", "--confidence", "0.7")
    assert "camera c1" in text
    assert "from 2 pairs of annotations" in text


def test_exported_labels_can_be_imported(
    reviewed: Path, tmp_path: Path, run_output: Callable[..., str], refused: Callable[..., str]
) -> None:
    first = run_json(run_output, "label", "export", "--store", reviewed, "--out", tmp_path / "l.csv")
    assert (first["version"], first["written"], first["tasks"]) == (1, 2 * COUNT - 1, COUNT)
    mat = run_json(run_output, "label", "export", "--store", reviewed, "--out", tmp_path / "l.mat")
    assert mat["version"] == 1
    assert (tmp_path / "l.mat").stat().st_size > 0
    back = run_json(run_output, "label", "import", tmp_path / "l.csv", "--store", reviewed, "--project", "files")
    assert (back["tasks"], back["created"]) == (COUNT, COUNT)
    assert [
        label_set["version"] for label_set in run_json(run_output, "label", "sets", "--store", reviewed)["sets"]
    ] == [1]
    assert "spring" in run_output("label", "sets", "--store", reviewed)
    assert "2 labels" not in run_output(
        "label", "export", "--store", reviewed, "--out", tmp_path / "l.csv", "--version", "1"
    )
    assert "write a .csv or a .mat file" in refused("label", "export", "--store", reviewed, "--out", tmp_path / "l.txt")
    assert "label set 9 is not in the store" in refused(
        "label", "export", "--store", reviewed, "--out", tmp_path / "m.csv", "--version", "9"
    )


def test_dry_runs_store_nothing(store: Path, run_output: Callable[..., str]) -> None:
    plan = run_json(run_output, "label", "push", "--store", store, "--project", "spring", "--budget", "12", "--dry-run")
    assert (plan["tasks"], plan["created"], plan["population"], plan["dry_run"]) == (12, 0, COUNT, True)
    assert "would sample 12 of 40 tasks" in run_output(
        "label", "push", "--store", store, "--project", "spring", "--budget", "12", "--dry-run"
    )
    text = run_output(
        "loop", "--store", store, "--project", "spring", "--base", "default", "--budget", "12", "--dry-run"
    )
    assert "sample 12 of 40 tasks" in text
    assert "a fifth of the store's people" in text
    with Store.open(store) as opened:
        assert opened.review.projects() == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("label", "push", "--project", "p1", "--strategy", "luck", "--dry-run"),
            "unknown strategy 'luck': use entropy",
        ),
        (
            ("label", "push", "--project", "p1", "--unit", "frame", "--dry-run"),
            "'frame' is not one of 'tracklet', 'crop'",
        ),
        (("label", "push", "--project", "p1", "--url", "nowhere"), "no token for Label Studio"),
        (("label", "pull", "--project", "p1", "--token-file", "missing"), "token file missing cannot be read"),
        (("label", "status", "--project", "p1"), "project p1 is not in the store (there are: none yet)"),
        (("precision",), "no sampled task is annotated yet"),
        (("precision", "--period", "year"), "'year' is not one of 'day', 'week', 'month'"),
        (("precision", "--by", "colour"), "'colour' is not one of 'camera', 'period'"),
        (("precision", "--model", "abcdef99"), "model 'abcdef99': no package folder, and not in the registry"),
        (("retrain", "--base", "default", "--mode", "half"), "'half' is not one of 'heads', 'all'"),
        (("retrain", "--base", "default"), "no project has the attributes of model"),
        (("label", "import", "l.txt", "--project", "p1"), "l.txt: give a .csv or a .mat file"),
    ],
)
def test_usage_errors_are_one_line(
    store: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    assert line in refused(*arguments, "--store", store)
