"""Commands on one Ray cluster that stays up: killed and resumed, interrupted, and with the results of one process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.archives import write_crops
from tests.support.random_models import random_model
from vestigo.store.open import Store
from vestigo_ui.cli.main import run
from vestigo_workers.executors.cluster import connect

pytestmark = pytest.mark.ray
VESTIGO = [sys.executable, "-m", "vestigo_ui.cli.main"]


def index_arguments(source: Path, store: Path, executor: str) -> list[str]:
    settings = ["--executor", executor, "--detector", "none", "--shard-size", "8", "--json"]
    return ["index", str(source), "--store", str(store), *settings]


def test_resumed_run_matches_uninterrupted_run(tmp_path: Path, ray_cluster: str) -> None:
    source = write_crops(tmp_path / "crops", 200)
    assert run(index_arguments(source, tmp_path / "calm", "inline")) == 0

    store_folder = tmp_path / "store"
    with subprocess.Popen(
        [*VESTIGO, *index_arguments(source, store_folder, "ray"), "--actors", "2"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as driver:
        committed = 0
        while committed == 0:
            assert driver.poll() is None, "the run was over before it could be killed"
            time.sleep(0.02)
            if (store_folder / "catalogue.sqlite").exists():
                with Store.open(store_folder) as store:
                    committed = sum(store.runs.totals(each.id).done for each in store.runs.list())
        os.kill(driver.pid, signal.SIGKILL)
    with Store.open(store_folder) as store:
        [interrupted] = store.runs.list()
        before = store.runs.totals(interrupted.id)
        assert 0 < before.pending < 200

    resumed = subprocess.run(
        [*VESTIGO, "runs", "resume", interrupted.id, "--store", str(store_folder), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["done"] == 200
    with Store.open(store_folder) as store, Store.open(tmp_path / "calm") as undisturbed:
        report = store.check()
        assert report.intact, report.problems
        assert report.digest == undisturbed.check().digest


def test_commands_give_results_of_one_process(
    tmp_path: Path, people: Path, ray_cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = random_model(tmp_path / "model")
    store = str(tmp_path / "store")
    assert run(["index", str(people / "query"), "--model", str(model), "--store", store, "--executor", "inline"]) == 0
    results = []
    for executor in (["inline"], ["ray", "--actors", "2", "--shard-size", "9"]):
        options = ["--device", "cpu", "--json", "--executor", *executor]
        copy = tmp_path / executor[0]
        shutil.copytree(model, copy)
        commands = [
            ["evaluate", str(people), "--model", str(model)],
            ["calibrate", "--data", str(people), "--model", str(copy)],
            ["rank", str(people), "--store", store, "--name", executor[0]],
            ["regions", str(people), "--out", str(tmp_path / f"maps-{executor[0]}")],
        ]
        for command in commands:
            capsys.readouterr()
            assert run([*command, *options]) == 0
            result = json.loads(capsys.readouterr().out)
            changing = ("seconds", "images_per_second", "name", "out", "model" if command[0] == "calibrate" else "")
            results.append({key: value for key, value in result.items() if key not in changing})
    assert results[:4] == results[4:]
    assert results[0]["mAP"] is not None
    with Store.open(store) as opened:
        inline, ray = (opened.rankings(name).drop(columns="ranking", errors="ignore") for name in ("inline", "ray"))
        assert len(inline) > 0
        assert inline.equals(ray)


def test_interrupted_evaluation_releases_its_actors(tmp_path: Path, people: Path, ray_cluster: str) -> None:
    import ray

    connect()
    command = ["evaluate", str(people), "--executor", "ray", "--actors", "2", "--shard-size", "1", "--device", "cpu"]
    with subprocess.Popen(
        [*VESTIGO, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as evaluation:
        while ray.available_resources().get("CPU", 0.0) == ray.cluster_resources()["CPU"]:
            assert evaluation.poll() is None, "the evaluation was over before it could be interrupted"
            time.sleep(0.02)
        os.kill(evaluation.pid, signal.SIGINT)
        output, errors = evaluation.communicate(timeout=120)
    assert (evaluation.returncode, output) == (130, "")
    assert "Traceback" not in errors
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0.0) < ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, "an actor outlives the evaluation"
        time.sleep(0.1)
