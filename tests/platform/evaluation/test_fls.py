"""Fused label maps, their inputs and the oracle compared with the truth cell by cell."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.evaluation.fls import METHODS, FusionEvaluator, MethodMetrics, shares_of_oracle
from vestigo_models.errors import ConfigError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import oracle_labels
from vestigo_models.inference.region_finder import RegionMap
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.schemas.regions import REGIONS

GRID = (16, 8)
NAMES = REGIONS.names


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ReidDataset:
    root = tmp_path_factory.mktemp("data") / "people"
    write_rendered(root, "small", 8, 2, 2, seed=11, processes=1)
    return load_dataset(root)


def truth_of(dataset: ReidDataset, path: Path) -> list[list[int]]:
    """What covers most of each cell of a 128 x 64 label map; of equal shares the smaller id."""
    labels = read_labels(dataset.root / "regions" / path.parent.name / f"{path.stem}.png")
    cells = []
    for row, column in itertools.product(range(16), range(8)):
        inside = labels[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].ravel().tolist()
        cells.append(max(range(6), key=lambda k: (inside.count(k), -k)))
    return [cells[row * 8 : row * 8 + 8] for row in range(16)]


def made(dataset: ReidDataset) -> dict[Path, RegionMap]:
    """Label maps that are right in two cells of three."""
    rng = np.random.default_rng(5)
    maps_by_path = {}
    for path in dataset.gallery.paths:
        truth = np.array(truth_of(dataset, path), dtype=np.uint8)
        maps = [np.where(rng.random(GRID) < 0.66, truth, rng.integers(0, 6, GRID)).astype(np.uint8) for _ in range(3)]
        maps_by_path[path] = RegionMap(
            labels=np.kron(maps[0], np.ones((8, 8), np.uint8)),
            grid=maps[0],
            body=np.kron(maps[1] % 5, np.ones((8, 8), np.uint8)),
            clusters=np.array([0, 4, 2, 5, 1, 3], dtype=np.uint8)[maps[2]],
        )
    return maps_by_path


def judged(dataset: ReidDataset, maps: dict[Path, RegionMap]) -> dict[str, MethodMetrics]:
    judge = FusionEvaluator(dataset, FlsConfig())
    for pid in np.unique(dataset.gallery.pids):
        paths = [p for p, q in zip(dataset.gallery.paths, dataset.gallery.pids, strict=True) if q == pid]
        judge.add(judge.count([*paths, Path("unknown.jpg")], [*(maps[p] for p in paths), maps[paths[0]]]))
    return judge.result()


def overlap(truth: list[int], labels: list[int], region: int) -> float | None:
    both = sum(t == region == f for t, f in zip(truth, labels, strict=True))
    either = sum(region in (t, f) for t, f in zip(truth, labels, strict=True))
    return 100 * both / either if either else None


def test_methods_equal_a_loop_over_cells(dataset: ReidDataset) -> None:
    maps = made(dataset)
    result = judged(dataset, maps)
    assert tuple(result) == METHODS
    cells: dict[str, list[int]] = {method: [] for method in ("truth", *METHODS)}
    owners: list[Path] = []
    for pid in np.unique(dataset.gallery.pids):
        paths = [p for p, q in zip(dataset.gallery.paths, dataset.gallery.pids, strict=True) if q == pid]
        truths = np.array([truth_of(dataset, path) for path in paths], dtype=np.uint8)
        cells["truth"] += truths.ravel().tolist()
        cells["oracle"] += oracle_labels(truths, FlsConfig()).ravel().tolist()
        for path in paths:
            cells["fls"] += maps[path].grid.ravel().tolist()
            cells["parser"] += maps[path].body[::8, ::8].ravel().tolist()
            cells["clustering"] += maps[path].clusters.ravel().tolist()
            owners += [path] * 128
    best = max(
        itertools.permutations(range(1, 6)),
        key=lambda order: sum(
            overlap(cells["truth"], [(0, *order)[c] for c in cells["clustering"]], k) or 0 for k in range(1, 6)
        ),
    )
    cells["clustering"] = [(0, *best)[c] for c in cells["clustering"]]
    carried = {
        name: {
            path
            for path, row in zip(dataset.gallery.paths, dataset.gallery.labels, strict=True)
            if (value := row[dataset.schema.index(name)]) >= 0 and dataset.schema[name].values[value] == "yes"
        }
        for name in ("backpack", "bag", "handbag")
    }
    assert any(carried.values())
    for method in METHODS:
        for region, name in enumerate(NAMES):
            expected = overlap(cells["truth"], cells[method], region)
            assert result[method].regions.iou[name] == (None if expected is None else pytest.approx(expected)), name
        for name, paths in carried.items():
            if method != "clustering":
                kept = [index for index, path in enumerate(owners) if path in paths]
                cells_of_kept = ([cells[key][index] for index in kept] for key in ("truth", method))
                expected = overlap(*cells_of_kept, 5)
                value = result[method].belongings[name]
                assert value == (None if expected is None else pytest.approx(expected)), (method, name)
    shares = shares_of_oracle(result)
    for name, share in shares.items():
        best_possible = result["oracle"].belongings[name]
        if best_possible:
            assert share == pytest.approx(100 * result["fls"].belongings[name] / best_possible)
        else:
            assert share is None


def test_oracle_is_body_and_belongings() -> None:
    truth = np.zeros((3, 64, 32), dtype=np.uint8)
    truth[:, 6:14, 13:19], truth[:, 14:34, 10:20], truth[:, 34:54, 11:19] = 1, 2, 3
    truth[:, 24:36, 20:28] = 5
    truth[0, 40:42, 25:27] = 5  # too small, and too far away
    oracle = oracle_labels(truth, FlsConfig(belongings_mode="classifier", foreground="activation"))
    assert (oracle[:, 25:35, 21:27] == 5).all()
    assert not oracle[0, 40:42, 25:27].any()
    assert (oracle[:, 16:32, 11:19] == 2).all()


def test_more_clusters_than_regions_are_rejected(dataset: ReidDataset) -> None:
    with pytest.raises(ConfigError, match=r"fls\.clusters=7: at most 6"):
        FusionEvaluator(dataset, FlsConfig(clusters=7))
