"""Parsing of training images on executors: the label maps of one process, and errors that name the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.archives import write_crops
from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import ConfigError, DatasetError
from vestigo_models.parsing.registry import make_parser
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.relabel import parse_labels
from vestigo_models.training.state import feature_grid
from vestigo_workers.executors.base import ExecutorSettings, one_thread
from vestigo_workers.training import labels as labels_module
from vestigo_workers.training.labels import TrainingParser, parse_training_images

RECIPE = TrainConfig.load("parser", {"input_size": (64, 32)}, backbone="tiny")


def settings(**choices: Any) -> ExecutorSettings:
    return ExecutorSettings.model_validate({"executor": "inline", "device": "cpu", **choices})


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_crops(tmp_path_factory.mktemp("data") / "crops", 11).iterdir())


@pytest.fixture(scope="module")
def expected(paths: list[Path]) -> UInt8Array:
    """The label maps by a plain loop over the images."""
    with one_thread():
        return parse_labels(paths, make_parser(RECIPE.parser), feature_grid(RECIPE))


@pytest.mark.parametrize(
    "choices",
    [
        {"shard_size": 1},
        {"shard_size": 4},
        {},
        pytest.param(
            {"executor": "ray", "actors": 2, "shard_size": 2}, marks=[pytest.mark.ray, pytest.mark.slow], id="ray"
        ),
    ],
)
def test_maps_do_not_depend_on_executor_and_shards(
    choices: dict[str, Any],
    paths: list[Path],
    expected: UInt8Array,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if "executor" in choices:
        request.getfixturevalue("ray_cluster")
    monkeypatch.chdir(paths[0].parent)
    reports: list[tuple[int, int | None]] = []
    relative = [Path(path.name) for path in paths]
    labels = parse_training_images(
        relative, RECIPE, settings(**choices), progress=lambda done, total: reports.append((done, total))
    )
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, expected)
    assert len(np.unique(labels)) > 1
    assert reports[-1] == (11, 11)


def test_no_images_have_no_maps() -> None:
    assert parse_training_images([], RECIPE, settings()).shape == (0, *feature_grid(RECIPE))


def test_unreadable_image_is_named(paths: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("a text")
    with pytest.raises(DatasetError, match=rf"training image {broken}: .*; remove the file or restore it"):
        parse_training_images([*paths[:3], broken], RECIPE, settings(shard_size=2))


def test_unknown_parser_is_refused(paths: list[Path]) -> None:
    with pytest.raises(ConfigError, match="unknown parser 'nonsense'"):
        parse_training_images(paths, RECIPE.model_copy(update={"parser": "nonsense"}), settings())


def test_image_that_kills_workers_is_named(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Fragile(TrainingParser):
        def process(self, batch: Any) -> UInt8Array:
            if paths[5] in batch.inputs:
                raise RuntimeError("dead")
            return super().process(batch)

    monkeypatch.setattr(labels_module, "TrainingParser", Fragile)
    with pytest.raises(DatasetError, match=rf"training image {paths[5]}: its worker died \(RuntimeError: dead\)"):
        parse_training_images(paths, RECIPE, settings(shard_size=4))
