"""Which model an index takes, and everything that other models wrote indexed again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import walkers_video
from tests.support.archives import write_crops as write_noise
from tests.support.crash_loop import BrightDetector
from tests.support.random_models import random_model
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_models.detection import registry as detectors
from vestigo_models.errors import ConfigError, ModelError, SourceError, StoreError
from vestigo_models.inference.package import ModelPackage
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import ReindexResult, index, reindex_stale
from vestigo_workers.runs.result import RunResult

SETTINGS: dict[str, Any] = {"executor": "inline", "device": "cpu", "detector": "none"}


def silent(name: str) -> Any:
    return lambda done, total: None


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: random_model(folder / name, name=name, seed=seed) for seed, name in enumerate(("old", "new"))}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def write_crops(folder: Path, count: int) -> Path:
    """Crops that no other folder has: an input is known by its name and content, wherever it lies."""
    for path in write_noise(folder, count).iterdir():
        path.rename(path.with_name(f"{folder.name}-{path.name}"))
    return folder


def register(store: Store, folder: Path) -> str:
    package = ModelPackage.from_pretrained(folder)
    store.models.register(package.digest, name=package.name, location=str(folder), facts=ModelFacts.of(package))
    return package.digest


def promote(store: Store, folder: Path) -> str:
    digest = register(store, folder)
    store.models.promote(digest, by="test", reasons=[], expected_before=store.models.serving())
    return digest


def indexed(store: Store, *sources: Path, **more: Any) -> RunResult:
    return index(store, IndexRequest(sources=tuple(map(str, sources)), **{**SETTINGS, **more}), silent)


def again(store: Store, model: str | None = None, **settings: Any) -> ReindexResult:
    return reindex_stale(store, silent, model=model, settings=settings)


def test_index_without_model_uses_serving_model(store: Store, models: dict[str, Path], tmp_path: Path) -> None:
    first, second, third = (write_crops(tmp_path / name, count) for name, count in (("a", 2), ("b", 3), ("c", 4)))
    indexed(store, first, model=str(models["old"]))
    served = promote(store, models["new"])
    run = indexed(store, second).run
    assert run.model == served
    assert IndexRequest.model_validate_json(run.command).model == str(models["new"])
    old = store.runs.list()[0].model
    assert indexed(store, third, model="old").run.model == old
    assert store.models.crop_counts() == {old: 6, served: 3}
    with pytest.raises(ModelError, match=r"model 'newer': no package folder, and not in the registry .* new \("):
        indexed(store, third, model="newer")


def test_changed_package_of_registered_model_is_refused(store: Store, models: dict[str, Path], tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "a", 2)
    moved = Path(shutil.copytree(models["new"], tmp_path / "moved"))
    promote(store, moved)
    shutil.rmtree(moved)
    with pytest.raises(ModelError, match="model new of the store is no longer at"):
        indexed(store, folder)
    shutil.copytree(models["old"], moved)
    with pytest.raises(ModelError, match="has changed since it was registered"):
        indexed(store, folder)
    assert store.runs.list() == []


def test_reindex_repeats_runs_with_their_settings(
    store: Store, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detectors, "make_detector", lambda name, device="cpu": BrightDetector())
    crops, more = write_crops(tmp_path / "crops", 5), write_crops(tmp_path / "more", 3)
    video = walkers_video(tmp_path / "v.mp4", seconds=3)
    indexed(store, crops, camera="gate", model=str(models["old"]))
    indexed(store, video, more, fps=2.0, detector="auto", model=str(models["old"]))
    (more / "late.jpg").write_bytes((crops / "crops-000.jpg").read_bytes())
    indexed(store, video, more, fps=2.0, detector="auto", model=str(models["old"]))
    assert len({row["input"] for row in rows(store)}) == 5 + 1 + 4
    before = sorted((row["crop_id"], row["camera"]) for row in rows(store))
    served = promote(store, models["new"])
    done = again(store)
    assert (done.model, done.missing, done.stale, done.unended) == (served, (), 0, ())
    # The second and third run requested the same.
    assert [result.run.status for result in done.runs] == ["succeeded", "succeeded"]
    assert sorted((row["crop_id"], row["camera"]) for row in rows(store)) == before
    assert {row["model"] for row in rows(store)} == {served}
    assert store.check().problems == ()
    requests = [IndexRequest.model_validate_json(result.run.command) for result in done.runs]
    assert [(request.camera, request.fps, request.detector) for request in requests] == [
        ("gate", 5.0, "none"),
        (None, 2.0, "auto"),
    ]
    assert again(store) == ReindexResult(model=served, runs=(), missing=(), stale=0, unended=())


def rows(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.crops.scan(["crop_id", "input", "camera", "model"]) for row in batch.to_pylist()]


def test_reindex_after_rollback_restores_rows(store: Store, models: dict[str, Path], tmp_path: Path) -> None:
    indexed(store, write_crops(tmp_path / "crops", 4), model=str(models["old"]))
    digest = store.check().digest
    promote(store, models["new"])
    again(store)
    assert store.check().digest != digest
    store.models.rollback(by="test", reasons=[])
    old = store.models.find("old")
    assert old is not None
    assert again(store, "old", shard_size=2).stale == 0
    assert (store.models.crop_counts(), store.check().digest) == ({old.digest: 4}, digest)


def test_missing_sources_are_reported_and_others_reindexed(
    store: Store, models: dict[str, Path], tmp_path: Path
) -> None:
    kept, lost, other = (write_crops(tmp_path / name, 2) for name in ("kept", "lost", "other"))
    indexed(store, kept, lost, model=str(models["old"]))
    indexed(store, other, model=str(models["old"]))
    old = store.runs.list()[0].model
    shutil.rmtree(lost)
    shutil.rmtree(other)
    served = promote(store, models["new"])
    done = again(store)
    assert (done.missing, done.stale, len(done.runs)) == ((str(lost), str(other)), 4, 1)
    assert store.models.crop_counts() == {served: 2, old: 4}
    shutil.rmtree(kept)
    with pytest.raises(SourceError, match=r"nothing can be indexed again: .*lost, .*other"):
        again(store)


def test_reindex_without_promotion_uses_newest_model_with_crops(
    store: Store, models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="holds no crops yet"):
        again(store)
    first, second = write_crops(tmp_path / "a", 2), write_crops(tmp_path / "b", 3)
    indexed(store, first, model=str(models["old"]))
    indexed(store, second, model=str(models["new"]))
    register(store, random_model(tmp_path / "candidate", name="candidate", seed=5))
    done = again(store)
    assert store.models.crop_counts() == {done.model: 5}
    assert done.model == store.runs.list()[1].model
    with pytest.raises(ConfigError, match="batch_size"):
        again(store, "old", batch_size=0)


def test_killed_run_is_repeated_unless_another_process_drives_it(
    store: Store, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = write_crops(tmp_path / "crops", 4)

    def stop(done: int, total: int | None) -> None:
        if store.runs.list():
            store.runs.request_cancel(store.runs.list()[0].id)

    request = IndexRequest(sources=(str(folder),), model=str(models["old"]), shard_size=2, **SETTINGS)
    assert index(store, request, lambda name: stop).run.status == "cancelled"
    assert sum(store.models.crop_counts().values()) == 2
    served = promote(store, models["new"])
    store.runs.take_lease(store.runs.list()[0].id)
    assert again(store).unended == (store.runs.list()[0].id,)
    store.runs.finish(store.runs.list()[0].id, "cancelled")
    assert again(store).stale == 0
    assert store.models.crop_counts() == {served: 4}
    assert store.check().problems == ()
