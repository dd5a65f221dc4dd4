"""Drivers of Ray runs are killed against one cluster that stays up; what follows ends with the same rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.archives import write_crops
from vestigo.store.open import Store
from vestigo_ui.cli.main import run

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
