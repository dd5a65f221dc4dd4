"""Filter modes and the overlap of label maps, compared with loops."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.datasets import DatasetWriter
from tests.support.random_models import random_package
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import dataset_digest
from vestigo.evaluation.evaluate import evaluate_model
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.evaluation.regions import label_overlap
from vestigo_benchmarks.ablation.filter_trials import try_filters
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.images import read_image
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, cluster_regions

PEOPLE = range(1, 41)


class ConfidentExtractor(Extractor):
    """Predicts random attributes, mostly with high confidence, from a generator seeded by the crop."""

    def extract(self, crops: Sequence[np.ndarray]) -> CropFeatures:
        outputs = super().extract(crops)
        rows = np.empty((len(crops), MARKET_1501.classes), dtype=np.float32)
        for row, crop in zip(rows, crops, strict=True):
            rng = np.random.default_rng(zlib.crc32(crop.tobytes()))
            for name in MARKET_1501.names:
                place = MARKET_1501.slice(name)
                row[place] = rng.dirichlet(np.full(place.stop - place.start, 0.15))
        return replace(outputs, probabilities=rows)


@pytest.fixture
def extractor() -> Extractor:
    return ConfidentExtractor(random_package())


def test_filter_modes_match_loops(write_dataset: DatasetWriter, extractor: Extractor) -> None:
    queries, held = [(pid, 1) for pid in PEOPLE], [(pid, camera) for pid in PEOPLE for camera in (2, 3)]
    dataset = load_dataset(write_dataset(query=queries, gallery=held))
    trials = {trial.mode: trial for trial in try_filters(dataset, extractor, halves=2, seed=3)}
    assert list(trials) == ["off", "strict", "quality", "auto 1 %", "auto 2 %", "auto 5 %", "soft"]

    probabilities = {
        int(pid): extractor.extract([read_image(path)]).probabilities[0]
        for path, pid in zip(dataset.query.paths, dataset.query.pids, strict=True)
    }
    for mode, threshold in (("strict", 0.7), ("quality", 0.95)):
        rng = np.random.default_rng(3)
        shares = []
        for _ in range(2):
            known = set(rng.permutation(np.array(PEOPLE))[:20].tolist())
            kept = 0
            for pid in set(PEOPLE) - known:
                stays = 0
                for other, _ in held:
                    conflict = False
                    for name in MARKET_1501.names:
                        ours, theirs = (probabilities[identity][MARKET_1501.slice(name)] for identity in (pid, other))
                        sure = ours.max() >= threshold and theirs.max() >= threshold
                        conflict |= bool(sure and ours.argmax() != theirs.argmax())
                    stays += not conflict
                kept += max(50, stays)
            shares.append(kept / (20 * len(held)))
        assert trials[mode].kept_fraction == pytest.approx(np.mean(shares))
        # All images of a person are identical: no match can be lost.
        assert (trials[mode].true_matches_lost, trials[mode].identity_loss) == (0.0, 0.0)
        assert trials[mode].thresholds == (threshold, threshold)
    assert trials["strict"].kept_fraction is not None
    assert trials["strict"].kept_fraction < 1
    assert trials["strict"].speed_up is not None
    assert trials["off"].kept_fraction == 1.0
    assert trials["off"].speed_up is None
    # 20 people bound no loss of 1 or 2 %.
    assert "at least 100 are needed" in trials["auto 1 %"].reason
    assert trials["auto 1 %"].mAP == trials["off"].mAP
    assert (trials["auto 2 %"].speed_up, trials["auto 2 %"].thresholds) == (None, (1.01, 1.01))
    plain = evaluate_model(dataset, extractor, EvaluationOptions(keep_camera_bias=True)).metrics.mAP
    assert trials["off"].mAP == pytest.approx(plain)


def test_label_overlap_matches_loops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, (3, 8, 4), dtype=np.uint8)
    maps = [tmp_path / f"{index}.png" for index in range(3)]
    for path, labels in zip(maps, truth, strict=True):
        cv2.imwrite(str(path), np.kron(labels, np.ones((4, 4), dtype=np.uint8)))
    predicted = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, 6, truth.shape)).astype(np.uint8)

    def iou(region: set[int], labels: np.ndarray) -> float:
        either = both = 0
        for place in np.ndindex(truth.shape):
            in_truth, in_labels = int(truth[place]) in region, int(labels[place]) in region
            either += in_truth or in_labels
            both += in_truth and in_labels
        return 100 * both / either

    overlap = label_overlap(predicted, REGIONS, maps)
    expected = {name: iou({k}, predicted) for k, name in enumerate(REGIONS.names) if k}
    assert overlap == pytest.approx({"foreground": iou({1, 2, 3, 4, 5}, predicted), **expected})
    body = np.minimum(predicted, 4)
    assert list(label_overlap(body, BODY_REGIONS, maps)) == ["foreground", *BODY_REGIONS.names[1:]]
    # Unknown cells are background, and clusters have no names.
    unknown = predicted.copy()
    unknown[0] = 255
    clusters = label_overlap(unknown, cluster_regions(6), maps)
    assert clusters == pytest.approx({"foreground": iou({1, 2, 3, 4, 5}, np.where(unknown == 255, 0, unknown))})


def test_dataset_digest_covers_images_and_labels(write_dataset: DatasetWriter) -> None:
    columns = {"train": {"hat": [2, 1]}}
    dataset, same = (load_dataset(write_dataset(name=name, columns=columns)) for name in ("one", "same"))
    assert dataset_digest(dataset) == dataset_digest(same)
    other = load_dataset(write_dataset(name="other", columns={"train": {"hat": [1, 1]}}))
    image = dataset.gallery.paths[0]
    before = dataset_digest(dataset)
    image.write_bytes(image.read_bytes() + b"\0")
    assert len({before, dataset_digest(other), dataset_digest(dataset)}) == 3
