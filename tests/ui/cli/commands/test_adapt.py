"""`vestigo adapt`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.promotion.gate import GateDecision
from vestigo.promotion.judge import PairEvaluation
from vestigo.store.open import Store
from vestigo_models.adaptation.run import EpochRecord
from vestigo_ui.cli.main import run
from vestigo_workers.adaptation import candidate
from vestigo_workers.adaptation.candidate import AdaptRequest, AdaptResult

BASE = EpochRecord(epoch=0, criterion=0.2, clusters=90, clustered=0.9, losses={})
BETTER = EpochRecord(epoch=1, criterion=0.3, clusters=95, clustered=0.95, losses={"total": 1.5})
SCORES = {"mAP": 50.0, "attributes": {}, "attributes_mean": None, "attributes_balanced": None}


@pytest.fixture
def store(tmp_path: Path) -> str:
    with Store.open(tmp_path / "store"):
        return str(tmp_path / "store")


def result(folder: Path, **changes: Any) -> AdaptResult:
    difference = Difference(difference=9.0, low=8.0, high=10.0, chance=0.0, identities=40)
    values: dict[str, Any] = {
        "digest": "c" * 64,
        "folder": folder / "tiny-adapted",
        "base": "b" * 64,
        "serving": "b" * 64,
        "crops": 500,
        "tracklets": 100,
        "cameras": 3,
        "records": (BASE, BETTER),
        "best": BETTER,
        "share": 0.75,
        "tested_on": ("rendered people",),
        "notes": (),
        "verdict": GateDecision(promoted=True, reasons=("silhouette across cameras 0.200 before, 0.300 after",)),
        "promoted": True,
        "scores": PairEvaluation(
            before=SCORES, after=SCORES | {"mAP": 59.0}, differences={"rendered people: mAP": difference}
        ),
    }
    return AdaptResult(**values | changes)


def test_json_has_the_keys_of_retrain_and_facts_of_the_run(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests: list[AdaptRequest] = []

    def adapt(_store: object, request: AdaptRequest, _progress: object) -> AdaptResult:
        requests.append(request)
        return result(tmp_path, notes=("no test split: 30 of 150 training identities are held out",))

    monkeypatch.setattr(candidate, "adapt_candidate", adapt)
    arguments = ["adapt", "--store", store, "--base", "tiny", "--epochs", "3", "--seed", "7"]
    assert run([*arguments, "--json"]) == 0
    streams = capsys.readouterr()
    assert "no test split: 30 of 150 training identities are held out" in streams.err
    printed = json.loads(streams.out)
    assert (printed["model"], printed["promoted"]) == ("tiny-adapted", True)
    assert (printed["before"]["mAP"], printed["after"]["mAP"]) == (50.0, 59.0)
    assert printed["reasons"] == ["silhouette across cameras 0.200 before, 0.300 after"]
    assert (printed["crops"], printed["cameras"], printed["epoch"]) == (500, 3, 1)
    assert printed["epochs"][1]["criterion"] == 0.3
    assert printed["share"] == 0.75
    assert "--reindex-stale" in printed["next"]
    assert (requests[0].base, requests[0].config.epochs, requests[0].config.seed) == ("tiny", 3, 7)
    assert run(arguments) == 0
    text = capsys.readouterr().out
    assert "tiny-adapted learned from 500 crops of 100 tracklets and 3 cameras, without labels" in text
    assert "59.0" in text
    assert "75% of the adapted weights and 25% of the base's, the most that passes" in " ".join(text.split())
    assert "promoted: it serves from now on" in text


def test_no_candidate_is_explained(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = GateDecision(promoted=False, reasons=("no epoch improved on the base",))
    nothing = result(tmp_path, verdict=refused, promoted=False, scores=None, best=BASE, tested_on=())
    monkeypatch.setattr(candidate, "adapt_candidate", lambda *_: nothing)
    assert run(["adapt", "--store", store]) == 0
    text = capsys.readouterr().out
    assert "refused" in text
    assert "no epoch improved on the base" in text
    assert run(["adapt", "--store", store, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["promoted"], printed["before"], printed["after"], printed["folder"]) == (False, None, None, None)


def test_empty_store_is_refused_in_one_line(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adapt", "--store", store]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") <= 2
    assert "index an archive first" in " ".join(error.split())
