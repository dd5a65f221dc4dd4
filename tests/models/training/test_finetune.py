"""Configuration of a fine-tuning: network, input and label maps of the package."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.random_models import random_package
from vestigo_models.errors import ConfigError
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage, PackageConfig
from vestigo_models.inference.preprocessing import IMAGENET_STD
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, RegionSchema, cluster_regions
from vestigo_models.training.finetune import finetuning_config, predict_label_maps
from vestigo_models.training.relabel import is_refresh_due


def package(regions: RegionSchema = REGIONS, **facts: object) -> ModelPackage:
    made = random_package(schema=None, regions=regions)
    return ModelPackage(PackageConfig(**(made.config.model_dump() | facts)), made.network)


@pytest.mark.parametrize(
    ("regions", "fls"),
    [
        (REGIONS, None),
        (REGIONS, FlsConfig(sure=0.4)),
        (BODY_REGIONS, None),
        (BODY_REGIONS, FlsConfig(labels="parser")),
        (cluster_regions(4), FlsConfig(labels="cluster", clusters=4)),
    ],
)
def test_finetuning_keeps_network_and_input(regions: RegionSchema, fls: FlsConfig | None, tmp_path: Path) -> None:
    base = package(regions, fls=fls)
    recipe = finetuning_config(base, tmp_path, 5, epochs=20, noise=0.04, seed=3)
    assert recipe.network == base.config.network
    assert recipe.region_schema == base.regions
    assert (recipe.base, recipe.input_size) == (str(tmp_path), base.input_size)
    assert (recipe.batch_identities, recipe.attr_noise, recipe.seed) == (5, 0.04, 3)
    assert recipe.fls == (fls or recipe.fls)
    made_anew = any(is_refresh_due(epoch, recipe) for epoch in range(1, 21))
    assert made_anew == (recipe.fls.labels == "cluster")
    assert recipe.needs_parser != made_anew
    assert finetuning_config(base, tmp_path, 500).batch_identities == 16


def test_label_maps_are_predictions_of_the_package(tmp_path: Path) -> None:
    base, rng = package(), np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 32, 3), dtype=np.uint8) for _ in range(5)]
    paths = tuple(tmp_path / f"{index}.png" for index in range(5))
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[:, :, ::-1])
    maps = predict_label_maps(base, paths, batch_size=2)
    assert maps.shape == (5, *base.grid)
    seen = Extractor(base, batch_size=2).regions(images)
    for index, y, x in np.ndindex(maps.shape):
        cell = seen[index, y, x].tolist()
        assert cell[maps[index, y, x]] == max(cell)


def test_unusable_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 identities: training needs at least 2"):
        finetuning_config(package(), tmp_path, 1)
    with pytest.raises(ConfigError, match="another mean and std"):
        finetuning_config(package(mean=(0.5, 0.5, 0.5), std=IMAGENET_STD), tmp_path, 4)
