"""Regions on training images on executors: the metrics of one process."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.random_models import random_package
from vestigo.evaluation.regions import TrainingRegionCounts, evaluate_training_regions
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.parsing.registry import make_parser
from vestigo_models.schemas.regions import REGIONS
from vestigo_workers.evaluation.training_regions import evaluate_training_images
from vestigo_workers.executors.base import ExecutorSettings

PACKAGE = random_package()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return seven images with label maps; one image cannot be read, one has no map."""
    root = tmp_path_factory.mktemp("training")
    (root / "maps").mkdir()
    rng = np.random.default_rng(0)
    for index in range(7):
        cv2.imwrite(str(root / f"{index}.png"), rng.integers(0, 256, (128, 64, 3), dtype=np.uint8))
        cv2.imwrite(str(root / "maps" / f"{index}.png"), rng.integers(0, 20, (128, 64), dtype=np.uint8))
    (root / "3.png").write_bytes(b"")
    (root / "maps" / "4.png").unlink()
    return root


@pytest.mark.parametrize("has_labels", [True, False])
@pytest.mark.parametrize(
    "choices",
    [
        {"executor": "inline", "shard_size": 2},
        {"executor": "inline"},
        pytest.param(
            {"executor": "ray", "actors": 2, "shard_size": 2}, marks=[pytest.mark.ray, pytest.mark.slow], id="ray"
        ),
    ],
)
def test_metrics_equal_those_of_one_process(
    choices: dict[str, Any], has_labels: bool, folder: Path, request: pytest.FixtureRequest
) -> None:
    if choices["executor"] == "ray":
        request.getfixturevalue("ray_cluster")
    paths = [folder / f"{index}.png" for index in range(7)]
    parser = f"labels:{folder / 'maps'}:lip"
    labels = None
    if has_labels:
        labels = np.random.default_rng(1).integers(0, len(REGIONS), (7, *PACKAGE.grid), dtype=np.uint8)
    expected = evaluate_training_regions(paths, Extractor(PACKAGE), make_parser(parser), labels)
    settings = ExecutorSettings(device="cpu", **choices)
    metrics = evaluate_training_images(paths, PACKAGE, parser, settings, labels)
    assert metrics == expected
    assert list(metrics.skipped) == list(expected.skipped)
    assert (metrics.images, sum(metrics.skipped.values())) == (5, 2)


def test_no_images_have_no_overlap(folder: Path) -> None:
    settings = ExecutorSettings(executor="inline", device="cpu")
    metrics = evaluate_training_images([], PACKAGE, f"labels:{folder / 'maps'}:lip", settings)
    assert (metrics.images, metrics.labels_mean, set(metrics.iou.values())) == (0, None, {None})


def test_other_classes_are_refused(folder: Path) -> None:
    settings = ExecutorSettings(executor="inline", device="cpu")
    with pytest.raises(ConfigError, match="the parser has the 18 classes of atr"):
        evaluate_training_images([folder / "0.png"], PACKAGE, f"labels:{folder / 'maps'}:atr", settings)


@given(reasons=st.lists(st.sampled_from([None, "a", "b", "lost"]), min_size=1, max_size=12), seed=st.integers())
def test_counts_do_not_depend_on_order(reasons: list[str | None], seed: int) -> None:
    def counts(first: int, reason: str | None) -> TrainingRegionCounts:
        cells = np.full((2, 2), first if reason is None else 0, dtype=np.int64)
        return TrainingRegionCounts(masks={"m": cells}, learnt=cells, skipped={} if reason is None else {0: reason})

    parts = [(row, counts(row, reason)) for row, reason in enumerate(reasons) if reason != "lost"]
    lost = {row: "lost" for row, reason in enumerate(reasons) if reason == "lost"}
    if not parts:
        return
    metrics = TrainingRegionCounts.joined(dict(parts), lost).metrics(len(reasons), has_labels=True)
    random.Random(seed).shuffle(parts)
    again = TrainingRegionCounts.joined(dict(parts), dict(reversed(lost.items()))).metrics(
        len(reasons), has_labels=True
    )
    assert again == metrics
    assert list(again.skipped) == list(dict.fromkeys(reason for reason in reasons if reason is not None))
