"""Embedding on executors: evaluations, calibrations and rankings are those of one process, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.archives import write_crops
from tests.support.random_models import random_package
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.calibrate import calibrate_model
from vestigo.evaluation.evaluate import evaluate_model
from vestigo.evaluation.images import LocalEmbedder
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.retrieval.bulk import image_queries
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.errors import DatasetError, UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.progress import ignore_progress
from vestigo_workers.evaluation.embedder import ExecutorEmbedder
from vestigo_workers.executors.base import ExecutorSettings, one_thread

PACKAGE = random_package()


def equal(one: Any, other: Any) -> bool:
    """Return whether two results are equal bit for bit, down to the arrays in them."""
    if is_dataclass(one):
        names = [field.name for field in fields(one) if field.name not in ("thumbnail", "speed_up")]
        return type(one) is type(other) and all(equal(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    return bool(one == other) or (one != one and other != other)


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=["inline", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])])
def embedder(request: pytest.FixtureRequest) -> Iterator[ExecutorEmbedder]:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    settings = ExecutorSettings(executor=request.param, actors=2, shard_size=5, device="cpu")
    with ExecutorEmbedder(PACKAGE, settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def damaged(people: Path, tmp_path_factory: pytest.TempPathFactory) -> ReidDataset:
    """Return the rendered people with an unreadable image in each split."""
    root = tmp_path_factory.mktemp("damaged") / "people"
    shutil.copytree(people, root)
    dataset = load_dataset(root)
    dataset.query.paths[1].write_bytes(b"")
    dataset.gallery.paths[6].write_text("a text")
    return dataset


def test_evaluation_equals_that_of_one_process(damaged: ReidDataset, embedder: ExecutorEmbedder) -> None:
    options = EvaluationOptions(filter=FilterChoice(mode="strict", threshold=0.7))
    expected = evaluate_model(damaged, Extractor(PACKAGE), options)
    evaluation = evaluate_model(damaged, embedder, options)
    assert equal(evaluation, expected)
    assert sum(evaluation.unreadable.values()) == sum(evaluation.gallery_unreadable.values()) == 1
    assert evaluation.regions is not None
    assert evaluation.regions.images == len(damaged.gallery) - 1


def test_calibration_equals_that_of_one_process(damaged: ReidDataset, embedder: ExecutorEmbedder) -> None:
    assert equal(calibrate_model(PACKAGE, damaged, embedder=embedder), calibrate_model(PACKAGE, damaged))


def test_calibrated_model_is_refused_for_calibration(damaged: ReidDataset) -> None:
    calibrated = PACKAGE.with_calibration(calibrate_model(PACKAGE, damaged).calibration)
    with pytest.raises(ValueError, match="has a calibration"):
        calibrate_model(PACKAGE, damaged, embedder=LocalEmbedder(Extractor(calibrated)))


@pytest.mark.parametrize("is_dataset", [True, False])
def test_queries_equal_those_of_one_process(
    is_dataset: bool, damaged: ReidDataset, tmp_path: Path, embedder: ExecutorEmbedder
) -> None:
    folder = damaged.root
    if not is_dataset:
        folder = write_crops(tmp_path / "crops", 13)
        sorted(folder.iterdir())[3].write_text("a text")
    queries, unreadable = image_queries(folder, lambda: embedder, ignore_progress)
    expected, skipped = image_queries(folder, lambda: Extractor(PACKAGE), ignore_progress)
    assert equal(queries, expected)
    assert unreadable == skipped
    assert sum(unreadable.values()) == 1


def test_folder_without_images_is_refused(tmp_path: Path, embedder: ExecutorEmbedder) -> None:
    with pytest.raises(UsageError, match="holds no image"):
        image_queries(tmp_path, lambda: embedder, ignore_progress)


def test_no_files_have_empty_features(embedder: ExecutorEmbedder) -> None:
    assert equal(embedder.embed([]), LocalEmbedder(Extractor(PACKAGE)).embed([]))


def test_unreadable_files_alone_have_empty_features(tmp_path: Path, embedder: ExecutorEmbedder) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(7)]
    for path in paths:
        path.write_text("a text")
    reports: list[tuple[int, int | None]] = []
    files = embedder.embed(paths, lambda done, total: reports.append((done, total)))
    assert (len(files.rows), files.unreadable) == (0, {"not-an-image": 7})
    assert reports[-1] == (7, 7)


def test_missing_label_map_is_named(people: Path, tmp_path: Path, embedder: ExecutorEmbedder) -> None:
    image = load_dataset(people).query.paths[0]
    with pytest.raises(DatasetError, match=r"label map .*missing.png"):
        embedder.embed([image], region_maps=[tmp_path / "missing.png"])


def test_relative_paths_are_found_by_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedder: ExecutorEmbedder
) -> None:
    paths = sorted(write_crops(tmp_path / "crops", 3).iterdir())
    monkeypatch.chdir(tmp_path)
    relative = [path.relative_to(tmp_path) for path in paths]
    assert equal(embedder.embed(relative), LocalEmbedder(Extractor(PACKAGE)).embed(paths))


@pytest.mark.ray
@pytest.mark.slow
def test_killed_actor_changes_no_feature(tmp_path: Path, ray_cluster: str) -> None:
    paths = sorted(write_crops(tmp_path / "crops", 40).iterdir())
    settings = ExecutorSettings(executor="ray", actors=2, shard_size=3, device="cpu")
    with ExecutorEmbedder(PACKAGE, settings) as embedder:

        def kill(done: int, total: int | None) -> None:
            pids: list[int] = embedder._pool._executor.pids  # type: ignore[union-attr]
            if pids:
                os.kill(pids.pop(), signal.SIGKILL)
                pids.clear()

        files = embedder.embed(paths, kill)
    assert equal(files, LocalEmbedder(Extractor(PACKAGE)).embed(paths))
