"""Candidate models: heads refitted by one or two workers, whole networks trained, and atomic writes."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.random_models import random_model, random_package
from vestigo_models.errors import ConfigError, DatasetError, ModelError
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.head_refit import AttributeTargets, extract_pooled, fit_heads, predict_attributes
from vestigo_models.training.trainer import LOG, RECIPE
from vestigo_workers.retraining.fit import RetrainingData, retrain

pytestmark = pytest.mark.slow

PEOPLE, IMAGES = 4, 3
COUNT = PEOPLE * IMAGES


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RetrainingData:
    """Four people in three images each; the last image of each is replayed with soft targets."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    paths, labels = [], []
    for person in range(PEOPLE):
        colour = rng.integers(40, 256, 3)
        for index in range(IMAGES):
            image = rng.integers(0, 40, (64, 32, 3)).astype(np.uint8)
            image[8:56, 10:22] = colour
            paths.append(folder / f"{person}_{index}.png")
            cv2.imwrite(str(paths[-1]), image)
            labels.append([person % len(attribute.values) for attribute in MARKET_1501.attributes])
    named = AttributeTargets.from_labels(np.array(labels), MARKET_1501, noise=0.05)
    soft = np.concatenate([rng.dirichlet(np.ones(len(a.values)), COUNT) for a in MARKET_1501.attributes], axis=1)
    replayed = np.arange(COUNT) % IMAGES == IMAGES - 1
    targets = AttributeTargets(
        probabilities=np.where(replayed[:, None], soft, named.probabilities).astype(np.float32),
        noise=np.where(replayed, 0, named.noise).astype(np.float32),
        weight=np.where(replayed, 0.3, 1).astype(np.float32),
    )
    camids = np.zeros(COUNT, dtype=np.int64)
    return RetrainingData(paths=tuple(paths), identities=np.arange(COUNT) // IMAGES, camids=camids, targets=targets)


def test_mode_heads_equals_fit_heads(base: Path, data: RetrainingData, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = tmp_path / "new" / "candidate"
    made = retrain(
        base,
        data,
        out,
        mode="heads",
        trained_on={"corrections": 8},
        progress=lambda done, total: seen.append((done, total)),
    )
    package = ModelPackage.from_pretrained(base)
    pooled = extract_pooled(package, (read_image(path) for path in data.paths))
    assert made.digest == fit_heads(package, pooled, data.targets).digest
    assert made.config.trained_on == {"corrections": 8}
    assert made.name == package.name
    assert seen[-1] == (COUNT, COUNT)
    assert sorted(path.name for path in out.parent.iterdir()) == ["candidate"]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_fit_the_heads_of_one(base: Path, data: RetrainingData, tmp_path: Path) -> None:
    single = retrain(base, data, tmp_path / "one", mode="heads")
    two = retrain(base, data, tmp_path / "two", mode="heads", workers=2)
    weights, others = single.network.state_dict(), two.network.state_dict()
    moved = max(float((a - b).abs().max()) for a, b in zip(weights.values(), others.values(), strict=True))
    assert moved < 1e-5
    pooled = extract_pooled(single, (read_image(path) for path in data.paths))
    np.testing.assert_allclose(predict_attributes(single, pooled), predict_attributes(two, pooled), atol=1e-5)
    assert two.digest != ModelPackage.from_pretrained(base).digest


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_error_of_worker_leaves_no_package(base: Path, data: RetrainingData, tmp_path: Path) -> None:
    nothing = AttributeTargets.from_labels(np.full((COUNT, 12), -1), MARKET_1501)
    empty = RetrainingData(paths=data.paths, identities=data.identities, camids=data.camids, targets=nothing)
    with pytest.raises(DatasetError, match="no crop has an attribute label"):
        retrain(base, empty, tmp_path / "out", mode="heads", workers=2)
    assert list(tmp_path.iterdir()) == []


def test_mode_all_trains_whole_network(base: Path, data: RetrainingData, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = retrain(
        base,
        data,
        tmp_path / "all",
        mode="all",
        epochs=2,
        seed=3,
        trained_on={"corrections": 8},
        progress=lambda done, total: seen.append((done, total)),
    )
    package = ModelPackage.from_pretrained(base)
    assert (made.name, made.input_size) == (package.name, package.input_size)
    assert made.config.network == package.config.network
    assert made.config.trained_on == {"corrections": 8, "identities": PEOPLE, "images": COUNT}
    key = "backbone.stem.0.weight"
    assert not torch.equal(made.network.state_dict()[key], package.network.state_dict()[key])
    assert seen[-1][0] == seen[-1][1] > 0
    files = {path.name for path in (tmp_path / "all").iterdir()}
    assert files == {"model.safetensors", "config.json", RECIPE, LOG}
    recipe = TrainConfig.load(tmp_path / "all" / RECIPE)
    assert recipe.base == str(base)
    labels = data.targets.labels(MARKET_1501, 0.9)
    noise = [data.targets.noise[row] for row, column in np.argwhere(labels >= 0)]
    assert recipe.attr_noise == pytest.approx(sum(noise) / len(noise), abs=1e-4)
    assert recipe.learning_rate == pytest.approx(1.5e-4)
    again = retrain(base, data, tmp_path / "again", mode="all", epochs=2, seed=3, trained_on={"corrections": 8})
    assert again.digest == made.digest


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_train_whole_network(base: Path, data: RetrainingData, tmp_path: Path) -> None:
    made = retrain(base, data, tmp_path / "all", mode="all", epochs=1, workers=2)
    assert made.digest != ModelPackage.from_pretrained(base).digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all"]


def test_killed_retraining_leaves_no_package(base: Path, data: RetrainingData, tmp_path: Path) -> None:
    work = multiprocessing.get_context("spawn").Process(
        target=retrain, args=(base, data, tmp_path / "out"), kwargs={"mode": "all", "epochs": 1000}
    )
    work.start()
    while not list(tmp_path.glob(".out-*/trained/checkpoint.pt")):
        assert work.is_alive()
        time.sleep(0.05)
    work.kill()
    work.join()
    assert not (tmp_path / "out").exists()
    made = retrain(base, data, tmp_path / "out", mode="heads")
    assert made.digest == ModelPackage.from_pretrained(tmp_path / "out").digest


def test_heads_on_global_features_are_refitted(data: RetrainingData, tmp_path: Path) -> None:
    made = random_package()
    config = made.config.model_copy(
        update={"network": NetworkConfig(backbone="tiny", neck="concat", channels=16, attributes="global")}
    )
    config = type(config)(**(config.model_dump() | {"region_schema": None}))
    ModelPackage(config, build_network(config.network, schema=MARKET_1501)).save_pretrained(tmp_path / "base")
    retrain(tmp_path / "base", data, tmp_path / "heads", mode="heads")
    retrain(tmp_path / "base", data, tmp_path / "all", mode="all", epochs=1)
    weights = load_file(tmp_path / "heads" / "model.safetensors")
    old = load_file(tmp_path / "base" / "model.safetensors")
    assert {key for key in old if not torch.equal(old[key], weights[key])} == {
        f"heads.heads.{index}.1.{kind}" for index in range(12) for kind in ("weight", "bias")
    }


def test_refused_retraining_leaves_no_package(base: Path, data: RetrainingData, tmp_path: Path) -> None:
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "note").write_text("mine")
    with pytest.raises(ModelError, match="occupied already exists; give a new folder"):
        retrain(base, data, tmp_path / "occupied", mode="heads")
    with pytest.raises(ConfigError, match="epochs=3: heads are refitted to convergence"):
        retrain(base, data, tmp_path / "out", mode="heads", epochs=3)
    bare = random_model(tmp_path / "bare", schema=None, regions=None)
    for mode in ("heads", "all"):
        with pytest.raises(ConfigError, match="'random' predicts no attributes"):
            retrain(bare, data, tmp_path / "out", mode=mode)  # type: ignore[arg-type]
    lost = RetrainingData(
        paths=(*data.paths[:-1], tmp_path / "lost.png"),
        identities=data.identities,
        camids=data.camids,
        targets=data.targets,
    )
    with pytest.raises(DatasetError, match=r"lost\.png"):
        retrain(base, lost, tmp_path / "out", mode="heads")
    alone = RetrainingData(
        paths=data.paths, identities=np.zeros(COUNT, dtype=np.int64), camids=data.camids, targets=data.targets
    )
    with pytest.raises(ConfigError, match="1 identities: training needs at least 2"):
        retrain(base, alone, tmp_path / "out", mode="all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "occupied"]
