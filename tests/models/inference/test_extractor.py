from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.support.random_models import random_package
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage, PackageConfig, package_network
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise, resize
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig


def make_package(**changes: object) -> ModelPackage:
    torch.manual_seed(0)
    config = PackageConfig(name="trial", network=NetworkConfig(backbone="tiny"), input_size=(128, 64), **changes)
    network = build_network(config.network)
    network.train()(torch.randn(8, 3, 128, 64))
    return package_network(config, network)


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    return make_package()


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 200, (11, 2))
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes]


def test_descriptors_are_unit_rows_in_order(package: ModelPackage, crops: list[np.ndarray]) -> None:
    rows = Extractor(package, batch_size=4).extract(crops).descriptors.vectors
    assert rows.shape == (11, 256)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert Extractor(package).extract([]).descriptors.vectors.shape == (0, 256)


def test_crops_do_not_depend_on_each_other(package: ModelPackage, crops: list[np.ndarray]) -> None:
    extractor = Extractor(package, batch_size=4)
    together = extractor.extract(crops).descriptors.vectors
    for index, crop in enumerate(crops):
        np.testing.assert_array_equal(extractor.extract([crop]).descriptors.vectors[0], together[index])
    order = np.random.default_rng(1).permutation(len(crops))
    np.testing.assert_array_equal(extractor.extract([crops[i] for i in order]).descriptors.vectors, together[order])


def test_descriptors_are_those_of_the_network(package: ModelPackage, crops: list[np.ndarray]) -> None:
    crop = crops[0]
    pixels = cv2.resize(crop, (64, 128), interpolation=cv2.INTER_AREA if crop.size > 128 * 64 * 3 else cv2.INTER_LINEAR)
    x = torch.from_numpy((pixels / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)).float()
    post = package.network(x.permute(2, 0, 1)[None]).features["global"].post[0]
    expected = (post / post.norm()).numpy()
    np.testing.assert_allclose(Extractor(package).extract([crop]).descriptors.vectors[0], expected, atol=2e-5)


def test_only_compared_regions_are_in_descriptors(crops: list[np.ndarray]) -> None:
    whole = random_package()
    network = whole.config.network.model_copy(update={"compared_regions": ("shoes", "upper")})
    chosen = ModelPackage(whole.config.model_copy(update={"network": network}), whole.network)
    assert (chosen.parts, chosen.part_names) == (2, ("upper", "shoes"))
    every, few = (Extractor(package).extract(crops) for package in (whole, chosen))
    blocks = np.split(every.descriptors.vectors, np.cumsum(whole.blocks)[:-1], axis=1)
    kept = [blocks[index] for index in (0, 1, 2, 3 + 1, 3 + 3)]  # always present; upper, shoes
    np.testing.assert_array_equal(few.descriptors.vectors, np.concatenate(kept, axis=1))
    np.testing.assert_array_equal(few.descriptors.visible, every.descriptors.visible[:, [1, 3]])
    np.testing.assert_array_equal(few.areas, every.areas)
    assert chosen.blocks == tuple(block.shape[1] for block in kept)
    assert chosen.digest != whole.digest


def test_flip_average_ignores_mirroring() -> None:
    crops = list(np.random.default_rng(0).integers(0, 256, (3, 128, 64, 3), dtype=np.uint8))
    mirrored = [np.ascontiguousarray(crop[:, ::-1]) for crop in crops]
    plain, averaged = Extractor(make_package(), batch_size=4), Extractor(make_package(flip_average=True), batch_size=4)
    assert np.abs(plain.extract(crops).descriptors.vectors - plain.extract(mirrored).descriptors.vectors).max() > 1e-3
    np.testing.assert_allclose(
        averaged.extract(crops).descriptors.vectors, averaged.extract(mirrored).descriptors.vectors, atol=1e-6
    )


def test_resize_and_normalise() -> None:
    crop = np.zeros((10, 8, 3), dtype=np.uint8)
    assert resize(crop, (128, 64)).shape == (128, 64, 3)
    assert resize(crop, (10, 8)) is crop
    # A shrunken crop is averaged: no pixel of a checkerboard survives.
    checkered = np.indices((256, 128)).sum(0) % 2 * 255
    assert np.unique(resize(np.repeat(checkered[..., None], 3, 2).astype(np.uint8), (128, 64))).tolist() == [128]
    batch = np.full((2, 4, 3, 3), 255, dtype=np.uint8)
    x = normalise(batch, IMAGENET_MEAN, IMAGENET_STD)
    assert x.shape == (2, 3, 4, 3)
    assert x.is_contiguous(memory_format=torch.channels_last)
    for channel in range(3):
        expected = (1 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        assert x[0, channel].unique().tolist() == pytest.approx([expected], abs=1e-5)
