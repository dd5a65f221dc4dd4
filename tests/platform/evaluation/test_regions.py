"""Regions on training images against SCHP's ids, compared with ISP's formula written out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.random_models import random_package
from vestigo.evaluation.regions import evaluate_training_regions
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.parsing.registry import make_parser
from vestigo_models.schemas.regions import REGIONS, cluster_regions

LIP_IDS = {"foreground": range(1, 20), "head": (1, 2, 4, 13), "legs": (8, 9, 16, 17), "shoes": (18, 19)}
REGION_IDS = {"foreground": range(1, 6), "head": (1,), "legs": (3,), "shoes": (4,)}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Training images, of which the fourth cannot be read and the fifth has no label map."""
    rng = np.random.default_rng(0)
    (tmp_path / "maps").mkdir()
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (128, 64, 3), dtype=np.uint8))
        cv2.imwrite(str(tmp_path / "maps" / path.name), rng.integers(0, 20, (128, 64), dtype=np.uint8))
    paths[3].write_bytes(b"")
    (tmp_path / "maps" / paths[4].name).unlink()
    return paths


def share(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float((truth & predicted).sum() / (truth | predicted).sum())


def test_overlap_is_that_of_isp(paths: list[Path], tmp_path: Path) -> None:
    extractor = Extractor(random_package(), batch_size=2)
    predicted = extractor.regions([read_image(path) for path in paths[:3]]).argmax(axis=3)
    rows, columns = predicted.shape[1:]
    maps = [cv2.imread(str(tmp_path / "maps" / path.name), cv2.IMREAD_UNCHANGED) for path in paths[:3]]
    # Nearest neighbours: the first pixel of each cell.
    truth = np.stack([each[:: 128 // rows, :: 64 // columns] for each in maps])
    labels = np.random.default_rng(1).integers(0, len(REGIONS), (5, rows, columns), dtype=np.uint8)
    labels[0, :4] = 255

    evaluation = evaluate_training_regions(paths, extractor, make_parser(f"labels:{tmp_path / 'maps'}:lip"), labels)
    assert (evaluation.images, sum(evaluation.skipped.values()), evaluation.skipped["no-labels"]) == (3, 2, 1)
    for name, ids in LIP_IDS.items():
        true, shown = np.isin(truth, list(ids)), np.isin(predicted, list(REGION_IDS[name]))
        own = share(true, shown)
        assert evaluation.iou[name] == pytest.approx(100 * own)
        assert evaluation.two_class[name] == pytest.approx(50 * (own + share(~true, ~shown)))
    known = labels[:3] < len(REGIONS)
    shares = [share((labels[:3] == k) & known, (predicted == k) & known) for k in range(len(REGIONS))]
    assert evaluation.labels_mean == pytest.approx(100 * np.mean(shares))


def test_clusters_are_compared_by_their_foreground(paths: list[Path], tmp_path: Path) -> None:
    extractor = Extractor(random_package(schema=None, regions=cluster_regions(6)))
    evaluation = evaluate_training_regions(paths[:3], extractor, make_parser(f"labels:{tmp_path / 'maps'}:lip"))
    assert list(evaluation.iou) == ["foreground"]
    assert evaluation.labels_mean is None


def test_other_classes_and_models_without_regions_are_refused(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the parser has the 18 classes of atr; regions on training images"):
        evaluate_training_regions(paths, Extractor(random_package()), make_parser(f"labels:{tmp_path / 'maps'}:atr"))
    without = Extractor(random_package(schema=None, regions=None))
    with pytest.raises(ConfigError, match="has no regions to evaluate on training images"):
        evaluate_training_regions(paths, without, make_parser(f"labels:{tmp_path / 'maps'}:lip"))
