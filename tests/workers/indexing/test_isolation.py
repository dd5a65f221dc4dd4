"""A run continues behind inputs that crash their readers, and quarantines them by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import hostile
from tests.support.archives import walkers_video, write_crops
from tests.support.random_models import random_model
from vestigo.ingest import decoding
from vestigo.store.open import Store
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index
from vestigo_workers.runs.result import RunResult


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "model", name="model", seed=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def index_source(store: Store, source: Path, model: Path, **settings: Any) -> RunResult:
    request = IndexRequest(sources=(str(source),), model=str(model), executor="inline", device="cpu", **settings)
    return index(store, request, lambda name: lambda done, total: None)


def quarantined(store: Store, run: str) -> dict[str, str]:
    return {failure.input: failure.reason for failure in store.runs.failures(run)}


def test_folder_with_hostile_files_is_indexed_to_its_end(
    store: Store, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "read_image_input", hostile.read_or_fail)
    monkeypatch.setattr(decoding, "probe_video", hostile.probe_or_fail)
    crops = sorted(write_crops(tmp_path / "source", 6).iterdir())
    for path, ending in zip(crops, ("crash", "memory", "raise"), strict=False):
        path.rename(path.with_name(f"{path.stem}-{ending}{path.suffix}"))
    (tmp_path / "source" / "crash.mp4").write_bytes(b"video")
    result = index_source(store, tmp_path / "source", model, detector="none")
    totals = result.totals
    assert (totals.inputs, totals.done, totals.quarantined, totals.pending) == (7, 3, 4, 0)
    reasons = quarantined(store, result.run.id)
    assert sorted(reasons.values()) == ["decoder-crashed", "decoder-crashed", "too-much-memory", "unreadable"]
    assert reasons["crash.mp4"] == "decoder-crashed"


@pytest.mark.parametrize(
    ("crashing", "lost"), [({16}, ["15 to 19"]), (set(range(12, 50)), ["11 to 19", "20 to 29", "30 to 39", "40 to 49"])]
)
def test_frame_that_crashes_decoder_loses_frames_up_to_next_keyframe(
    store: Store, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashing: set[int], lost: list[str]
) -> None:
    monkeypatch.setattr(decoding, "_read_frames", partial(hostile.read_frames_and_crash, crashing))
    walkers_video(tmp_path / "gate.mp4", seconds=5)
    result = index_source(store, tmp_path / "gate.mp4", model, detector="hog", slice_seconds=60)
    failures = store.runs.failures(result.run.id)
    assert [(failure.reason, failure.detail) for failure in failures] == [
        ("decoder-crashed", f"frames {frames}: gate.mp4 crashed its decoder (SIGSEGV); convert it") for frames in lost
    ]
    totals = result.totals
    assert (totals.quarantined, totals.done + totals.empty, totals.frame_failures) == (0, 1, len(lost))


def test_video_without_readable_frame_is_quarantined(
    store: Store, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_read_frames", partial(hostile.read_frames_and_crash, set(range(20))))
    walkers_video(tmp_path / "gate.mp4", seconds=2)
    result = index_source(store, tmp_path / "gate.mp4", model, detector="hog", slice_seconds=60)
    assert list(quarantined(store, result.run.id).values()) == ["decoder-crashed"]
    assert result.totals.pending == 0
