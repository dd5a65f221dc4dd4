"""Label maps of a training: schedule, workers and parsers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.networks.build import build_network
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.label_maps import label_cells
from vestigo_models.parsing.registry import make_parser
from vestigo_models.schemas.regions import REGIONS, cluster_regions
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import ImageReader, TrainingSet
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.losses import UNLABELLED
from vestigo_models.training.relabel import compare_maps, initial_labels, is_refresh_due, parse_labels, refresh_labels

SIZE, GRID = (64, 32), (32, 16)


def config(labels: str = "fls", **keys: object) -> TrainConfig:
    regions = {"fls": 6, "cluster": 6, "parser": 5}[labels]
    return TrainConfig.load("fls", {"fls.labels": labels, "network.regions": regions, **keys}, backbone="tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Five people in 3 images each; a block of the parser's body in every image."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    paths = []
    for index in range(15):
        paths.append(folder / f"{index}.png")
        cv2.imwrite(str(paths[-1]), rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    parsed = np.zeros((15, *GRID), dtype=np.uint8)
    parsed[:, 4:9, 6:10], parsed[:, 9:18, 6:10], parsed[:, 18:28, 6:10] = 1, 2, 3
    return TrainingSet(paths=tuple(paths), pids=np.arange(15) // 3, camids=np.zeros(15, dtype=np.int64), parsed=parsed)


def test_refresh_schedule() -> None:
    paper = TrainConfig.load("fls")
    assert [epoch for epoch in range(1, 121) if is_refresh_due(epoch, paper)] == list(range(11, 102, 2))
    clusters = TrainConfig.load("clustering")
    assert [epoch for epoch in range(1, 121) if is_refresh_due(epoch, clusters)] == list(range(1, 102, 2))
    for name in ("baseline", "control", "parser"):
        assert not any(is_refresh_due(epoch, TrainConfig.load(name)) for epoch in range(1, 121))


class Share(Ranks):
    """One of several workers, whose results the test sums."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.mark.parametrize("labels", ["fls", "cluster"])
@pytest.mark.parametrize("foreground", ["activation", "classifier"])
def test_workers_compute_the_maps_of_one_worker(data: TrainingSet, labels: str, foreground: str) -> None:
    settings = config(labels, **{"fls.foreground": foreground})
    if labels == "cluster":
        data = TrainingSet(paths=data.paths, pids=data.pids, camids=data.camids)
    network = build_network(settings.network, regions=REGIONS)
    reader = ImageReader(data.paths, SIZE, 1.0)
    previous = initial_labels(data, GRID, 6)
    maps, again, *shares = (
        refresh_labels(network, reader, data, previous, settings, ranks, torch.device("cpu"))
        for ranks in (Ranks(), Ranks(), Share(0, 3), Share(1, 3), Share(2, 3))
    )
    np.testing.assert_array_equal(maps, again)
    np.testing.assert_array_equal(maps, np.sum(shares, axis=0))
    assert maps.max() <= 5


class HalvesParser(Parser):
    """A parser that sees a head above and legs below."""

    def parse(self, image: np.ndarray, name: str) -> Parsed:
        if name == "3.png":
            raise BadInput("too-dark", "nothing to see")
        regions = np.zeros((6, 64, 32), dtype=np.float32)
        regions[1, :32], regions[3, 32:] = 0.9, 0.8
        return Parsed(labels=np.zeros(image.shape[:2], dtype=np.uint8), regions=regions)


def test_parsed_labels_are_on_the_networks_grid(data: TrainingSet) -> None:
    seen: list[int] = []
    labels = parse_labels(data.paths[:3], HalvesParser(), GRID, lambda done, total: seen.append(done))
    assert labels.shape == (3, *GRID)
    assert (labels[:, :16] == 1).all()
    assert (labels[:, 16:] == 3).all()
    assert seen == [1, 2, 3]
    np.testing.assert_array_equal(label_cells(np.eye(6, dtype=np.float32)[:, :, None], (6, 1))[:, 0], np.arange(6))


def test_unparsable_image_is_reported(data: TrainingSet) -> None:
    with pytest.raises(DatasetError, match=r"3\.png: nothing to see"):
        parse_labels(data.paths, HalvesParser(), GRID)


def test_missing_image_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"missing\.png"):
        parse_labels([tmp_path / "missing.png"], HalvesParser(), GRID)


@pytest.mark.parametrize(
    ("labels", "label_map", "seed", "region"),
    [
        (":atr", None, False, 0),
        (":atr", None, True, 5),
        (":atr", {"bag": "belongings"}, False, 5),
        (":lip", {"scarf": "belongings"}, False, 0),
        ("", {"16": "belongings"}, False, 5),
    ],
)
def test_bags_of_atr_are_belongings_only_on_request(
    labels: str, label_map: dict[str, str] | None, seed: bool, region: int, tmp_path: Path
) -> None:
    classes = np.zeros(SIZE, dtype=np.uint8)
    classes[:32] = 16 if labels != ":lip" else 0
    for folder in ("images", "maps"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), classes)
    parser = make_parser(f"labels:{tmp_path / 'maps'}{labels}", label_map)
    maps = parse_labels([tmp_path / "images/a.png"], parser, GRID, atr_bag_seed=seed)
    assert (maps[0, :16] == region).all()
    assert (maps[0, 16:] == 0).all()


def test_atr_bag_seed_is_off_by_default() -> None:
    assert not TrainConfig.load("fls").atr_bag_seed
    assert TrainConfig.load("fls", {"atr_bag_seed": True}).atr_bag_seed


def test_refresh_is_compared_with_the_labels_before() -> None:
    before = np.zeros((2, 2, 4), dtype=np.uint8)
    before[:, 0] = 2
    after = before.copy()
    after[0, 1, :2] = 5
    compared = compare_maps(before, after, REGIONS)
    # Background 6 of 8 cells, upper 8 of 8, belongings 0 of 2.
    assert compared == {
        "iou": pytest.approx((6 / 8 + 1 + 0) / 3),
        "foreground_iou": pytest.approx(8 / 10),
        "belongings_images": 0.5,
        "belongings_cells": 2 / 16,
    }


def test_first_clusters_have_no_labels_before() -> None:
    before = np.full((2, 2, 4), UNLABELLED, dtype=np.uint8)
    compared = compare_maps(before, np.ones_like(before), cluster_regions(6))
    assert compared == dict.fromkeys(("iou", "foreground_iou", "belongings_images", "belongings_cells"))
