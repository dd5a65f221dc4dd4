"""A model calibrated on rendered people, against the same steps done by hand."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.random_models import random_package
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.calibrate import ModelCalibration, calibrate_model
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(people: Path) -> ReidDataset:
    return load_dataset(people)


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    return random_package()


@pytest.fixture(scope="module")
def calibration(dataset: ReidDataset, package: ModelPackage) -> ModelCalibration:
    return calibrate_model(package, dataset)


Row = tuple[int, NDArray[np.int64], NDArray[np.float32]]


def predict(dataset: ReidDataset, package: ModelPackage) -> list[Row]:
    """Return identity, labels and probabilities of each image, extracted alone."""
    extractor = Extractor(package)
    return [
        (int(pid), labels, extractor.extract([read_image(path)]).probabilities[0])
        for split in (dataset.query, dataset.gallery)
        for path, pid, labels in zip(split.paths, split.pids, split.labels, strict=True)
    ]


def naive_errors(predictions: list[Row], pids: set[int]) -> dict[str, float]:
    """Return the expected calibration error of some identities' images, each with equal weight, bin by bin."""
    rows = [row for row in predictions if row[0] in pids]
    errors = {}
    for place, name in enumerate(MARKET_1501.names):
        bins: dict[int, float] = {}
        labelled = [(pid, labels[place], p[MARKET_1501.slice(name)]) for pid, labels, p in rows if labels[place] >= 0]
        people = {pid for pid, _, _ in labelled}
        for pid, label, group in labelled:
            share = 1 / len(people) / sum(other == pid for other, _, _ in labelled)
            edge = int(np.ceil(group.max() * 15)) - 1
            bins[edge] = bins.get(edge, 0.0) + share * (float(group.argmax() == label) - float(group.max()))
        errors[name] = sum(abs(gap) for gap in bins.values())
    return errors


def test_calibration_errors_use_unfitted_identities(
    dataset: ReidDataset, package: ModelPackage, calibration: ModelCalibration
) -> None:
    assert (calibration.identities, calibration.fitted) == (6, 2)
    assert calibration.images == len(dataset.query) + len(dataset.gallery)
    assert calibration.calibration.filter is not None
    assert calibration.calibration.filter.identities == 4
    assert calibration.calibration.measured_on == "the test split of people"
    # The errors show which four of the six people were left out of the fit.
    people = set(dataset.query.pids.tolist())
    before, after = predict(dataset, package), predict(dataset, package.with_calibration(calibration.calibration))
    left = [
        people - {*fitted}
        for fitted in combinations(people, 2)
        if naive_errors(before, people - {*fitted}) == pytest.approx(calibration.error_before, abs=1e-5)
    ]
    assert len(left) == 1
    assert naive_errors(after, left[0]) == pytest.approx(calibration.error_after, abs=1e-5)


def test_earlier_calibration_is_ignored(
    dataset: ReidDataset, package: ModelPackage, calibration: ModelCalibration
) -> None:
    again = calibrate_model(package.with_calibration(calibration.calibration), dataset)
    assert again.calibration == calibration.calibration


def test_training_split_calibrates_against_itself(dataset: ReidDataset, package: ModelPackage) -> None:
    calibration = calibrate_model(package, dataset, split="train", measured_on="six people")
    assert (calibration.images, calibration.identities, calibration.fitted) == (len(dataset.train), 6, 2)
    assert calibration.calibration.measured_on == "six people"


def test_filter_is_measured_on_all_identities_without_labels(dataset: ReidDataset) -> None:
    calibration = calibrate_model(random_package(schema=DUKEMTMC_REID), dataset)
    assert set(calibration.calibration.temperatures.values()) == {1.0}
    assert calibration.fitted == 0
    assert calibration.calibration.filter is not None
    assert calibration.calibration.filter.identities == 6
    assert set(calibration.error_before.values()) == {None}
    assert "dukemtmc-reid" in calibration.notes[0]


def test_calibration_without_attributes_is_rejected(dataset: ReidDataset) -> None:
    with pytest.raises(ConfigError, match="model plain predicts no attributes"):
        calibrate_model(random_package("plain", schema=None), dataset)
