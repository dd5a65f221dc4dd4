"""Adaptation of a package: learning, determinism, resuming."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.support.random_models import random_model
from vestigo_models.adaptation import run as run_module
from vestigo_models.adaptation.adapt import adapt
from vestigo_models.adaptation.config import AdaptationConfig
from vestigo_models.adaptation.data import MIN_CROPS, AdaptationSet
from vestigo_models.adaptation.run import CHECKPOINT
from vestigo_models.errors import ConfigError, UsageError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.training.config import AugmentationConfig
from vestigo_models.training.distributed import Ranks

CONFIG = AdaptationConfig(
    epochs=2,
    k1=8,
    k2=2,
    batch_clusters=4,
    learning_rate=1e-3,
    teacher_momentum=0.5,
    augmentation=AugmentationConfig(pad=2),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("adapt") / "base")


def draw_crops(folder: Path) -> AdaptationSet:
    """Draw eight people in plain clothes before two cameras, one of which is darker."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths, cameras = [], []
    colours = rng.integers(0, 256, (8, 2, 3))
    for number in range(80):
        person, camera = number % 8, number // 8 % 2
        image = np.empty((64, 32, 3))
        image[:32], image[32:] = colours[person]
        image = image * (1.0, 0.6)[camera] + rng.normal(0, 12, image.shape)
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.clip(image, 0, 255).astype(np.uint8))
        cameras.append(camera)
    return AdaptationSet(paths=tuple(paths), tracklets=np.arange(80), cameras=np.array(cameras))


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> AdaptationSet:
    return draw_crops(tmp_path_factory.mktemp("crops"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ModelPackage.from_pretrained(folder).network.state_dict()


def assert_equal_weights(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def adapted(base: Path, crops: AdaptationSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapted") / "out"
    adapt(base, crops, CONFIG, out, trained_on={"place": "test"})
    return out


def test_package_keeps_network_and_records_the_run(base: Path, adapted: Path) -> None:
    package = ModelPackage.from_pretrained(adapted)
    assert package.config.network == ModelPackage.from_pretrained(base).config.network
    assert package.config.trained_on["place"] == "test"
    facts = package.config.trained_on["adaptation"]
    assert (facts["crops"], facts["tracklets"], facts["cameras"]) == (80, 80, 2)
    assert [record["epoch"] for record in facts["epochs"]] == [0, 1, 2]
    assert all(record["clusters"] >= 2 for record in facts["epochs"])
    json.dumps(facts)


def test_result_is_the_teacher_of_the_best_epoch(base: Path, adapted: Path) -> None:
    epochs = ModelPackage.from_pretrained(adapted).config.trained_on["adaptation"]["epochs"]
    state = torch.load(adapted / CHECKPOINT, weights_only=True)
    best = max(epochs, key=lambda record: record["criterion"])["epoch"]
    before, after = weights(base), weights(adapted)
    if best == 2:
        assert all(torch.equal(after[name], state["teacher"][name]) for name in after)
    changed = any(not torch.equal(value, after[name]) for name, value in before.items())
    assert changed == (best > 0)


@pytest.mark.parametrize("kill_in", ["_commit", "_train_epoch", "_cluster"])
def test_resumed_adaptation_gives_the_same_weights(
    base: Path, crops: AdaptationSet, adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_in: str
) -> None:
    original = getattr(run_module.AdaptationRun, kill_in)
    calls = []

    def killed(self: run_module.AdaptationRun, *arguments: object) -> object:
        calls.append(kill_in)
        result = original(self, *arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(run_module.AdaptationRun, kill_in, killed)
    with pytest.raises(KeyboardInterrupt):
        adapt(base, crops, CONFIG, tmp_path / "out")
    adapt(base, crops, CONFIG, tmp_path / "out")
    assert_equal_weights(tmp_path / "out", adapted)


def test_early_stop_keeps_the_best_epoch(
    base: Path, crops: AdaptationSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    criteria = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    monkeypatch.setattr(run_module, "cross_camera_silhouette", lambda *_: next(criteria))
    config = CONFIG.model_copy(update={"epochs": 5, "patience": 2})
    run = run_module.AdaptationRun(ModelPackage.from_pretrained(base), crops, config, "cpu", Ranks())
    run.labels = np.zeros(80, dtype=np.int64)
    ended = []
    for _ in range(4):
        run._commit(tmp_path / CHECKPOINT, {})
        ended.append(run.has_ended)
    assert ended == [False, False, False, True]
    assert run.best_record.epoch == 1


def test_few_crops_and_one_camera_are_refused(crops: AdaptationSet) -> None:
    with pytest.raises(UsageError, match=f"10 crops: adaptation needs at least {MIN_CROPS}"):
        AdaptationSet(paths=crops.paths[:10], tracklets=np.arange(10), cameras=crops.cameras[:10])
    with pytest.raises(UsageError, match="all 80 crops are of one camera"):
        AdaptationSet(paths=crops.paths, tracklets=np.arange(80), cameras=np.zeros(80, dtype=np.int64))


def test_crops_without_clusters_are_refused(base: Path, crops: AdaptationSet, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"min_crops": 81})
    with pytest.raises(UsageError, match="form 0 clusters"):
        adapt(base, crops, config, tmp_path / "out")


def test_batch_must_be_shared_by_the_workers(base: Path, crops: AdaptationSet, tmp_path: Path) -> None:
    ranks = Ranks()
    ranks.size = 3
    with pytest.raises(ConfigError, match="batch_clusters=4: not a multiple of the 3 workers"):
        adapt(base, crops, CONFIG, tmp_path / "out", ranks=ranks)


@pytest.mark.parametrize("choices", [{"schema": None}, {"schema": None, "regions": None}])
def test_models_without_attributes_or_regions_adapt(
    crops: AdaptationSet, tmp_path: Path, choices: dict[str, None]
) -> None:
    base = random_model(tmp_path / "base", **choices)
    records = adapt(base, crops, CONFIG.model_copy(update={"epochs": 1}), tmp_path / "out")
    assert len(records) == 2
