"""Killed at every fault point and begun again, indexing ends with exactly the rows of an undisturbed run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.archives import walkers_video, write_crops
from vestigo.store.open import Store


def crash_until_done(store: Path, sources: list[Path]) -> int:
    command = [sys.executable, "-m", "tests.support.crash_loop", str(store), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-3000:]
    deaths: int = json.loads(done.stdout)["deaths"]
    return deaths


def test_index_recovers_from_every_fault_point(tmp_path: Path, store_reference: Path) -> None:
    crops = write_crops(tmp_path / "crops", 10)
    video = walkers_video(tmp_path / "walk.mp4", seconds=5)
    from tests.support import crash_loop
    from vestigo_models.detection import registry as detectors
    from vestigo_workers.indexing import run as index
    from vestigo_workers.indexing.request import IndexRequest

    with pytest.MonkeyPatch.context() as patch, Store.open(tmp_path / "calm") as calm:
        patch.setattr(detectors, "make_detector", lambda name, device="cpu": crash_loop.BrightDetector())
        request = IndexRequest(sources=(str(crops), str(video)), **crash_loop.SETTINGS)
        undisturbed = index.index(calm, request, lambda name: lambda done, total: None)
        assert undisturbed.totals.tracklets > 0
        expected = calm.check()
    assert expected.intact, expected.problems

    deaths = crash_until_done(store_reference, [crops, video])
    assert deaths > 20
    with Store.open(store_reference) as store:
        report = store.check()
        assert report.intact, report.problems
        assert (report.digest, report.crops) == (expected.digest, expected.crops)
        assert store.runs.totals(store.runs.list()[-1].id) == undisturbed.totals
        assert len([run for run in store.runs.list() if run.status == "succeeded"]) == 1
