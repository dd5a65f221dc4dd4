"""What a run left out, tried again: with the rows of a run that nothing disturbed, or a word on why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support import hostile
from tests.support.archives import walkers_video, write_crops
from tests.support.crash_loop import BrightDetector
from tests.support.random_models import random_model
from vestigo.ingest import decoding
from vestigo.store.audit.records import login
from vestigo.store.open import Store
from vestigo.store.runs.records import RetryResult
from vestigo_models.detection import registry as detectors
from vestigo_models.errors import FingerprintMismatch, StoreError
from vestigo_ui.cli.commands import runs
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index
from vestigo_workers.runs.result import RunResult
from vestigo_workers.runs.resume import retry


def silent(name: str) -> Any:
    return lambda done, total: None


@pytest.fixture(autouse=True)
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "make_detector", lambda name, device="cpu": BrightDetector())


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    return write_crops(tmp_path / "crops", 6), walkers_video(tmp_path / "walk.mp4", seconds=5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return random_model(tmp_path / "model", name="m", seed=0)


def indexed(store: Store, sources: Collection[Path], model: Path) -> RunResult:
    settings: dict[str, Any] = {"executor": "inline", "shard_size": 4, "slice_seconds": 2.0, "batch_size": 4}
    return index(store, IndexRequest(sources=tuple(map(str, sources)), model=str(model), **settings), silent)


def again(store: Store, run: str, **chosen: Any) -> tuple[RetryResult, RunResult]:
    return retry(store, run, silent, before=lambda: None, **chosen)


@contextmanager
def unreadable(names: Collection[str], slices: Collection[int] = ()) -> Iterator[None]:
    """A disk that does not answer for some images, and for slices that begin at some frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "read_image_input", partial(hostile.read_unless, names))
        patch.setattr(decoding, "_read_frames", partial(hostile.read_frames_unless, slices))
        yield


def test_inputs_of_failed_disk_are_retried(tmp_path: Path, sources: tuple[Path, Path], model: Path) -> None:
    with Store.open(tmp_path / "calm") as calm:
        undisturbed = indexed(calm, sources, model).totals
        expected = calm.check()
    assert undisturbed.tracklets > 0
    with Store.open(tmp_path / "store") as store:
        with unreadable(["001.jpg", "003.jpg", "005.jpg"], slices=[20]):
            run = indexed(store, sources, model).run.id
            assert store.runs.totals(run).quarantined == 4
            assert again(store, run)[1].totals.quarantined == 4
        assert store.check().problems == ()
        retried, result = again(store, run, names=["003.jpg"])
        assert (retried.inputs, result.totals.quarantined) == (1, 3)
        retried, result = again(store, run, reason="unreadable")
        assert (retried.missing, result.run.status) == ((), "succeeded")
        assert result.totals == undisturbed
        report = store.check()
        assert (report.problems, report.digest, report.crops) == ((), expected.digest, expected.crops)


def test_retry_skips_moved_video(tmp_path: Path, sources: tuple[Path, Path], model: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    video = Path(shutil.move(sources[1], folder / "walk.mp4"))
    shutil.copy(sources[0] / "001.jpg", folder)
    with Store.open(tmp_path / "store") as store:
        with unreadable([], slices=[20]):
            run = indexed(store, [folder], model).run.id
        before = store.check().digest
        moved = Path(shutil.move(video, tmp_path / "moved.mp4"))
        with pytest.raises(StoreError, match=r"walk\.mp4\[20:40\] cannot be retried: put its video back"):
            again(store, run)
        assert store.check().digest == before
        assert store.runs.get(run).status == "succeeded"
        shutil.move(moved, video)
        assert again(store, run)[1].totals.quarantined == 0


def test_changed_content_is_a_new_input(tmp_path: Path, sources: tuple[Path, Path], model: Path) -> None:
    folder = sources[0]
    with Store.open(tmp_path / "store") as store:
        with unreadable(["001.jpg"]):
            run = indexed(store, [folder], model).run.id
        shutil.copy(folder / "002.jpg", folder / "001.jpg")
        again(store, run)
        (failure,) = store.runs.failures(run)
        assert (failure.reason, failure.detail) == (
            "changed",
            "001.jpg changed since it was planned; index its source again",
        )
        assert indexed(store, [folder], model).totals.done == 1


def test_retry_with_another_model_changes_nothing(tmp_path: Path, sources: tuple[Path, Path], model: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        with unreadable(["001.jpg"]):
            run = indexed(store, [sources[0]], model).run.id
        shutil.rmtree(model)
        random_model(model, name="m", seed=1)
        with pytest.raises(FingerprintMismatch, match="is bound to another configuration"):
            again(store, run)
        assert (store.runs.totals(run).quarantined, store.runs.get(run).status) == (1, "succeeded")
        assert store.audit.entries() == []


def test_retry_command_reports_counts(tmp_path: Path, sources: tuple[Path, Path], model: Path) -> None:
    ref = tmp_path / "store"
    with Store.open(ref) as store, unreadable(["001.jpg", "002.jpg"]):
        run = indexed(store, [sources[0]], model).run.id
    command = ["retry", "--store", str(ref), "--by", "ada", "--case", "c7", "--json", "--", run, "002.jpg"]
    done = CliRunner().invoke(runs.app, command)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["retried"], summary["left"], summary["quarantined"], summary["status"]) == (
        1,
        [],
        1,
        "succeeded with 1 failure",
    )
    with Store.open(ref) as store:
        (entry,) = store.audit.entries()
    assert (entry.user, entry.action, entry.case) == (login(), "retry", "c7")
    assert entry.details == {"run": run, "inputs": ["002.jpg"], "by": "ada"}
    done = CliRunner().invoke(runs.app, ["retry", run, "--store", str(ref), "--reason", "unreadable"])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "1 input tried again")
    with Store.open(ref) as store:
        assert store.check().intact
        assert store.runs.totals(run).quarantined == 0
