"""Temperatures of a package change attribute probabilities only."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.support.random_models import random_package
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.weights import CONFIG, WEIGHTS, write_config
from vestigo_models.schemas.builtin import MARKET_1501

TEMPERATURES = {"gender": 0.25, "upper_colour": 3.0}


@pytest.fixture(scope="module")
def plain() -> ModelPackage:
    return random_package()


@pytest.fixture(scope="module")
def calibrated(plain: ModelPackage) -> ModelPackage:
    return plain.with_calibration(Calibration(temperatures=TEMPERATURES, measured_on="drawn people"))


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (7, 64, 32, 3), dtype=np.uint8))


def naive(row: np.ndarray) -> list[float]:
    """p^(1/T), normalised, value by value."""
    probabilities: list[float] = []
    for name in MARKET_1501.names:
        group = [float(p) for p in row[MARKET_1501.slice(name)]]
        powers = [math.pow(p, 1 / TEMPERATURES.get(name, 1.0)) for p in group]
        probabilities += [power / sum(powers) for power in powers]
    return probabilities


def test_temperatures_change_probabilities_only(
    plain: ModelPackage, calibrated: ModelPackage, crops: list[np.ndarray]
) -> None:
    before, after = (Extractor(package, batch_size=4).extract(crops) for package in (plain, calibrated))
    np.testing.assert_allclose(after.probabilities, [naive(row) for row in before.probabilities], atol=1e-5)
    assert np.abs(after.probabilities - before.probabilities).max() > 1e-3
    np.testing.assert_array_equal(after.descriptors.vectors, before.descriptors.vectors)
    np.testing.assert_array_equal(after.areas, before.areas)
    assert after.probabilities.dtype == np.float32


def test_crops_do_not_depend_on_each_other(calibrated: ModelPackage, crops: list[np.ndarray]) -> None:
    extractor = Extractor(calibrated, batch_size=4)
    together = extractor.extract(crops).probabilities
    for index, crop in enumerate(crops):
        np.testing.assert_array_equal(extractor.extract([crop]).probabilities[0], together[index])
    assert extractor.extract([]).probabilities.shape == (0, MARKET_1501.classes)


def test_temperatures_are_part_of_digest_and_file(
    plain: ModelPackage, calibrated: ModelPackage, tmp_path: Path
) -> None:
    assert calibrated.digest != plain.digest
    assert calibrated.with_calibration(None).digest == plain.digest
    plain.save_pretrained(tmp_path, half=True)
    weights = (tmp_path / WEIGHTS).read_bytes()
    stored = ModelPackage.from_pretrained(tmp_path)
    assert stored.calibration is None
    write_config(tmp_path, stored.with_calibration(calibrated.calibration).config)
    loaded = ModelPackage.from_pretrained(tmp_path)
    assert loaded.calibration == calibrated.calibration
    assert loaded.digest == stored.with_calibration(calibrated.calibration).digest
    assert (tmp_path / WEIGHTS).read_bytes() == weights
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, WEIGHTS]


def test_temperatures_of_other_attributes_raise(plain: ModelPackage) -> None:
    with pytest.raises(ConfigError, match="the model predicts no shoe_colour; calibrate the model again"):
        plain.with_calibration(Calibration(temperatures={"shoe_colour": 2.0}, measured_on="x"))
    with pytest.raises(ConfigError, match="predicts no hat"):
        random_package(schema=None).with_calibration(Calibration(temperatures={"hat": 2.0}, measured_on="x"))
