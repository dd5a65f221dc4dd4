"""A model calibrated on rendered people, against the same steps done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.random_models import random_package
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.evaluation.calibrate import ModelCalibration, calibrate_model
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ReidDataset:
    root = tmp_path_factory.mktemp("data") / "people"
    write_rendered(root, "small", 12, 2, 3, seed=4, processes=1)
    return load_dataset(root)


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    return random_package()


@pytest.fixture(scope="module")
def calibration(dataset: ReidDataset, package: ModelPackage) -> ModelCalibration:
    return calibrate_model(package, dataset)


def naive_errors(dataset: ReidDataset, package: ModelPackage, pids: set[int]) -> dict[str, float]:
    """Expected calibration error of some people's images, every person weighing the same, bin by bin."""
    extractor = Extractor(package)
    rows = [
        (int(pid), labels, extractor.extract([read_image(path)]).probabilities[0])
        for split in (dataset.query, dataset.gallery)
        for path, pid, labels in zip(split.paths, split.pids, split.labels, strict=True)
        if pid in pids
    ]
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
    # Which four people were left over is found by trying: the errors tell.
    people = sorted(set(dataset.query.pids.tolist()))
    calibrated = package.with_calibration(calibration.calibration)
    left = [
        {*people} - {first, second}
        for at, first in enumerate(people)
        for second in people[at + 1 :]
        if naive_errors(dataset, package, {*people} - {first, second})
        == pytest.approx(calibration.error_before, abs=1e-5)
    ]
    assert len(left) == 1
    assert naive_errors(dataset, calibrated, left[0]) == pytest.approx(calibration.error_after, abs=1e-5)


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
