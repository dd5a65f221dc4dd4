"""A random model evaluated on a small rendered dataset, against loops over images."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from tests.support.random_models import random_package
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.evaluate import compare, evaluate_model
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.evaluation.regions import belongings_auc
from vestigo.evaluation.result import Evaluation
from vestigo.ingest.embedding import embed_files
from vestigo.ranking.camera_bias import CameraBias, sum_by_camera
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.errors import ConfigError, DatasetError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, cluster_regions

pytestmark = pytest.mark.slow

NAMES = REGIONS.names


@pytest.fixture(scope="module")
def dataset(people: Path) -> ReidDataset:
    return load_dataset(people)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(random_package())


@pytest.fixture(scope="module")
def judged(dataset: ReidDataset, extractor: Extractor) -> Evaluation:
    return evaluate_model(dataset, extractor, EvaluationOptions())


def truth_of(dataset: ReidDataset) -> dict[int, dict[str, set[int]]]:
    """Accepted classes (counted from 0) by identity and attribute, straight from the file."""
    content = scipy.io.loadmat(dataset.root / "market_attribute.mat")["market_attribute"]["test"].item()
    pids = [int(cell[0]) for cell in content["image_index"].item().reshape(-1)]
    accepted: dict[int, dict[str, set[int]]] = {pid: {} for pid in pids}
    for place, pid in enumerate(pids):
        for attribute in MARKET_1501.attributes:
            values = [int(content[field].item().reshape(-1)[place]) for field in attribute.fields]
            if attribute.multi_field:
                accepted[pid][attribute.name] = {k for k, value in enumerate(values) if value == 2}
            else:
                accepted[pid][attribute.name] = {values[0] - 1} - {-1}
    return accepted


def gallery(dataset: ReidDataset) -> list[tuple[int, Path]]:
    return list(zip(dataset.gallery.pids.tolist(), dataset.gallery.paths, strict=True))


@pytest.mark.parametrize("keep", [True, False])
def test_map_uses_equation_14(dataset: ReidDataset, extractor: Extractor, keep: bool) -> None:
    judged = evaluate_model(dataset, extractor, EvaluationOptions(keep_camera_bias=keep))
    descriptors = {path: extractor.extract([read_image(path)]).descriptors for path in dataset.gallery.paths}
    sums = sum_by_camera(
        Descriptors.joined(list(descriptors.values())), np.ones(len(descriptors)), dataset.gallery.camids
    )
    bias = CameraBias.of({} if keep else sums, extractor.package.blocks)
    cameras = {
        path: [cam]
        for split in (dataset.query, dataset.gallery)
        for path, cam in zip(split.paths, split.camids, strict=True)
    }

    def features(path: Path) -> tuple[np.ndarray, np.ndarray]:
        made = descriptors.get(path) or extractor.extract([read_image(path)]).descriptors
        made = bias.remove(made, np.array(cameras[path]))
        return made.vectors[0].astype(float), made.visible[0]

    held = [
        (pid, cam, *features(path)) for (pid, path), cam in zip(gallery(dataset), dataset.gallery.camids, strict=True)
    ]
    aps = []
    for pid, cam, path in zip(dataset.query.pids, dataset.query.camids, dataset.query.paths, strict=True):
        vector, visible = features(path)
        ranked = []
        for place, (other, camera, theirs, seen) in enumerate(held):
            if (other, camera) == (pid, cam):
                continue
            shared = sum(bool(a and b) for a, b in zip(visible, seen, strict=True))
            ranked.append((round(1 - vector @ theirs / (shared + 3), 8), place, other == pid))
        hits = [rank for rank, (_, _, right) in enumerate(sorted(ranked), start=1) if right]
        aps.append(np.mean([n / rank for n, rank in enumerate(hits, start=1)]))
    assert judged.metrics.mAP == pytest.approx(100 * np.mean(aps), abs=1e-6)


def test_attributes_are_counted_by_image(dataset: ReidDataset, extractor: Extractor, judged: Evaluation) -> None:
    truth = truth_of(dataset)
    right: Counter[str] = Counter()
    labelled: Counter[str] = Counter()
    occurs: Counter[tuple[str, int]] = Counter()
    recalled: Counter[tuple[str, int]] = Counter()
    images = 0
    for pid, path in gallery(dataset):
        if pid not in truth:
            continue
        images += 1
        probabilities = extractor.extract([read_image(path)]).probabilities[0]
        for attribute in MARKET_1501.attributes:
            predicted_class = int(probabilities[MARKET_1501.slice(attribute.name)].argmax())
            accepted = truth[pid][attribute.name]
            right[attribute.name] += predicted_class in accepted
            labelled[attribute.name] += bool(accepted)
            if accepted:
                occurs[attribute.name, min(accepted)] += 1
                recalled[attribute.name, min(accepted)] += predicted_class == min(accepted)
    assert judged.attributes is not None
    metrics = judged.attributes.metrics
    assert metrics.images == images < len(dataset.gallery)
    assert metrics.official == pytest.approx({name: 100 * right[name] / images for name in MARKET_1501.names})
    assert metrics.labelled_only == pytest.approx({n: 100 * right[n] / labelled[n] for n in MARKET_1501.names})
    recalls = []
    for attribute in MARKET_1501.attributes:
        shares = {
            value: 100 * recalled[attribute.name, k] / occurs[attribute.name, k]
            for k, value in enumerate(attribute.values)
            if occurs[attribute.name, k]
        }
        known = {value: share for value, share in metrics.recall[attribute.name].items() if share is not None}
        assert known == pytest.approx(shares)
        recalls.append(np.mean(list(shares.values())))
    assert metrics.balanced == pytest.approx(np.mean(recalls))
    assert list(metrics.official) == list(MARKET_1501.names)


def test_regions_are_compared_by_cell(dataset: ReidDataset, extractor: Extractor, judged: Evaluation) -> None:
    true: dict[str, set[tuple[str, int, int]]] = {name: set() for name in NAMES}
    seen: dict[str, set[tuple[str, int, int]]] = {name: set() for name in NAMES}
    for _, path in gallery(dataset):
        labels = cv2.imread(str(dataset.root / "regions" / path.parent.name / f"{path.stem}.png"), -1)
        regions = extractor.regions([read_image(path)])[0]
        rows, columns, _ = regions.shape
        for row, column in np.ndindex(rows, columns):
            block = labels[row * 128 // rows : (row + 1) * 128 // rows, column * 64 // columns :][
                :, : 64 // columns
            ].ravel()
            most = max(range(6), key=lambda region, block=block: ((block == region).sum(), -region))
            true[NAMES[most]].add((path.name, row, column))
            seen[NAMES[int(regions[row, column].argmax())]].add((path.name, row, column))
    assert judged.regions is not None
    for name in NAMES:
        both, either = len(true[name] & seen[name]), len(true[name] | seen[name])
        assert judged.regions.iou[name] == pytest.approx(100 * both / either)
    assert judged.regions.mean == pytest.approx(np.mean(list(judged.regions.iou.values())))
    everything = set.union(*true.values())
    others = everything - true["background"], everything - seen["background"]
    iou = len(others[0] & others[1]) / len(others[0] | others[1])
    assert judged.regions.two_class["foreground"] == pytest.approx(50 * iou + judged.regions.iou["background"] / 2)
    assert judged.regions.images == len(dataset.gallery)


def test_belongings_auc_uses_area(dataset: ReidDataset) -> None:
    truth = truth_of(dataset)
    rows = np.arange(len(dataset.gallery))
    areas = np.random.default_rng(0).integers(0, 5, (len(rows), 6)).astype(np.float32)
    carries, not_carries = [], []
    for row, (pid, _) in enumerate(gallery(dataset)):
        if pid in truth:
            carried = any(1 in truth[pid][name] for name in ("backpack", "bag", "handbag"))
            (carries if carried else not_carries).append(areas[row, 5])
    pairs = [(a > b) + (a == b) / 2 for a in carries for b in not_carries]
    assert belongings_auc(areas, REGIONS, dataset, rows) == pytest.approx(np.mean(pairs))
    assert belongings_auc(areas, BODY_REGIONS, dataset, rows) is None
    rows_of_identity = np.flatnonzero(dataset.gallery.pids == dataset.gallery.pids[-1])
    assert belongings_auc(areas[rows_of_identity], REGIONS, dataset, rows_of_identity) is None


def test_model_of_other_schema_has_no_attribute_metrics(dataset: ReidDataset) -> None:
    evaluation = evaluate_model(dataset, Extractor(random_package(schema=DUKEMTMC_REID)), EvaluationOptions())
    assert evaluation.attributes is None
    (note,) = evaluation.notes
    assert "dukemtmc-reid" in note
    assert "market-1501" in note
    assert evaluation.metrics.mAP is not None


def test_notes_name_what_cannot_be_evaluated(dataset: ReidDataset, tmp_path: Path, extractor: Extractor) -> None:
    clusters = evaluate_model(
        dataset, Extractor(random_package(schema=None, regions=cluster_regions(4))), EvaluationOptions()
    )
    assert (clusters.attributes, clusters.regions, clusters.belongings_auc) == (None, None, None)
    assert [text.startswith("regions were not evaluated: the model has clusters") for text in clusters.notes] == [True]
    body = evaluate_model(dataset, Extractor(random_package(schema=None, regions=BODY_REGIONS)), EvaluationOptions())
    assert body.regions is not None
    assert list(body.regions.iou) == list(BODY_REGIONS.names)
    assert body.notes == ()
    root = tmp_path / "bare"
    shutil.copytree(dataset.root, root, ignore=shutil.ignore_patterns("regions", "*.mat"))
    bare = evaluate_model(load_dataset(root), extractor, EvaluationOptions())
    assert (bare.attributes, bare.regions) == (None, None)
    assert bare.notes == (
        "attributes were not evaluated: the dataset has no labels, market_attribute.mat is not in it; copy it there",
    )


def test_invalid_label_map_is_reported_in_one_line(dataset: ReidDataset, tmp_path: Path, extractor: Extractor) -> None:
    root = tmp_path / "people"
    shutil.copytree(dataset.root, root)
    first = load_dataset(root).gallery.paths[0]
    path = root / "regions" / first.parent.name / f"{first.stem}.png"
    cv2.imwrite(str(path), np.full((128, 64), 9, dtype=np.uint8))
    with pytest.raises(DatasetError, match="holds region 9; ids go from 0 to 5"):
        evaluate_model(load_dataset(root), extractor, EvaluationOptions())
    path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="restore it"):
        evaluate_model(load_dataset(root), extractor, EvaluationOptions())
    path.unlink()
    with pytest.raises(DatasetError, match="1 images have no label map"):
        evaluate_model(load_dataset(root), extractor, EvaluationOptions())


def test_filter_without_attributes_is_rejected(dataset: ReidDataset) -> None:
    options = EvaluationOptions(filter=FilterChoice(mode="strict", threshold=0.7))
    with pytest.raises(ConfigError, match="filter strict: model plain predicts no attributes"):
        evaluate_model(dataset, Extractor(random_package("plain", schema=None, regions=None)), options)


def test_models_are_compared_on_same_images(dataset: ReidDataset, judged: Evaluation, tmp_path: Path) -> None:
    other = evaluate_model(dataset, Extractor(random_package(seed=1)), EvaluationOptions())
    comparison = compare(judged, other)
    assert comparison.mAP is not None
    assert judged.metrics.mAP is not None
    assert other.metrics.mAP is not None
    assert comparison.mAP.difference == pytest.approx(judged.metrics.mAP - other.metrics.mAP)
    assert judged.attributes is not None
    assert other.attributes is not None
    for name, difference in comparison.attributes.items():
        ours, theirs = judged.attributes.metrics.official[name], other.attributes.metrics.official[name]
        assert difference is not None
        assert ours is not None
        assert theirs is not None
        assert difference.difference == pytest.approx(ours - theirs)
        assert difference.low <= difference.difference <= difference.high
    assert list(comparison.attributes) == list(MARKET_1501.names)
    itself = compare(judged, judged).mAP
    assert itself is not None
    assert (itself.difference, itself.low, itself.high) == (0, 0, 0)
    plain = evaluate_model(dataset, Extractor(random_package(schema=None, regions=None)), EvaluationOptions())
    assert compare(judged, plain).attributes == {}
    root = tmp_path / "fewer"
    shutil.copytree(dataset.root, root)
    load_dataset(root).gallery.paths[0].unlink()
    with pytest.raises(ValueError, match="different images"):
        compare(judged, evaluate_model(load_dataset(root), Extractor(random_package()), EvaluationOptions()))


def test_each_batch_of_images_is_reported(dataset: ReidDataset, extractor: Extractor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("a text")
    paths = [dataset.query.paths[0], broken, dataset.query.paths[1]]
    seen: list[tuple[int, int]] = []
    embedded = embed_files(
        paths, extractor, on_batch=lambda rows, crops: seen.extend(zip(rows, map(len, crops), strict=True))
    )
    assert seen == [(0, 128), (2, 128)]
    assert embedded.rows.tolist() == [0, 2]
    assert len(embedded.features) == 2
    nothing = embed_files([], extractor)
    assert (len(nothing.features), nothing.features.probabilities.shape) == (0, (0, MARKET_1501.classes))
