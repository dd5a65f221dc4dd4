from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Container
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.interruption import interrupt_after
from vestigo_models.errors import ConfigError, DatasetError, ModelError, WorkError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import normalise
from vestigo_models.networks.efficientnet import EfficientNetLite0
from vestigo_models.training import state
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet, identity_batches
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.trainer import train

pytestmark = pytest.mark.slow

SMALL = TrainConfig.model_validate(
    {
        "network": {"backbone": "tiny"},
        "input_size": (32, 16),
        "epochs": 2,
        "batch_identities": 4,
        "images_per_identity": 2,
        "warmup_epochs": 0,
        "augmentation": {"brightness": 0.2, "noise_probability": 0.5},
        "checkpoint_steps": 2,
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Six identities with 8 images each: a colour and noise."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (6, 3))
    paths, pids = [], []
    for pid in range(6):
        for index in range(8):
            image = np.clip(colours[pid] + rng.normal(0, 25, (32, 16, 3)), 0, 255).astype(np.uint8)
            paths.append(folder / f"{pid}_{index}.png")
            cv2.imwrite(str(paths[-1]), image)
            pids.append(pid)
    return TrainingSet(paths=tuple(paths), pids=np.array(pids), camids=np.zeros(48, dtype=np.int64))


@pytest.fixture(scope="module")
def uninterrupted(data: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "model"
    train(SMALL, data, out)
    return out


def same(folder: Path, other: Path) -> None:
    weights, others = load_file(folder / "model.safetensors"), load_file(other / "model.safetensors")
    assert weights.keys() == others.keys()
    for name in weights:
        assert torch.equal(weights[name], others[name]), name
    assert (folder / "losses.jsonl").read_bytes() == (other / "losses.jsonl").read_bytes()


def test_frozen_stages_keep_weights_and_statistics(data: TrainingSet, tmp_path: Path) -> None:
    network = SMALL.network.model_copy(update={"backbone": "small"})
    changes = {"network": network, "weights": "imagenet", "frozen_stages": 2, "epochs": 1, "learning_rate": 1e-3}
    train(SMALL.model_copy(update=changes), data, tmp_path / "model")
    trained = load_file(tmp_path / "model" / "model.safetensors")
    assert EfficientNetLite0.shipped is not None
    for name, value in load_file(EfficientNetLite0.shipped / "model.safetensors").items():
        is_frozen = name.startswith(("stem.", "stages.0.", "stages.1."))
        if is_frozen or value.ndim == 4:
            assert torch.equal(trained[f"backbone.{name}"].to(value.dtype), value) == is_frozen, name


def test_adamw_decays_weights_but_no_biases_and_norms(data: TrainingSet, tmp_path: Path) -> None:
    trained = {}
    for decay in (0.0, 10.0):
        changes = {"optimiser": "adamw", "learning_rate": 1e-5, "weight_decay": decay, "epochs": 1}
        train(SMALL.model_copy(update=changes), data, tmp_path / str(decay))
        trained[decay] = load_file(tmp_path / str(decay) / "model.safetensors")
    steps = len(identity_batches(data.pids, SMALL, 1))
    for name, value in trained[0.0].items():
        if value.is_floating_point() and "running" not in name:
            kept = 1.0 if value.ndim < 2 else (1 - 1e-5 * 10.0) ** steps
            torch.testing.assert_close(trained[10.0][name].float(), kept * value.float(), rtol=2e-3, atol=1e-4)


def test_backbone_has_its_own_learning_rate(data: TrainingSet, tmp_path: Path) -> None:
    moved = []
    for rate in (1e-6, 1.0):
        config = SMALL.model_copy(update={"backbone_rate": rate, "epochs": 1, "learning_rate": 1e-3})
        before = state.TrainingRun(config, data, "cpu", Ranks()).network.backbone.stem[0].weight.detach()
        train(config, data, tmp_path / str(rate))
        after = load_file(tmp_path / str(rate) / "model.safetensors")["backbone.stem.0.weight"].float()
        moved.append(float((after - before).abs().max()))
    assert moved[0] < 1e-8 < 1e-5 < moved[1]


def die_at(config: TrainConfig, data: TrainingSet, out: Path, fatal: int) -> None:
    def progress(_done: int, _total: int | None) -> None:
        nonlocal fatal
        fatal -= 1
        if fatal == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    train(config, data, out, resume=True, progress=progress)


def test_written_files(uninterrupted: Path, data: TrainingSet) -> None:
    package = ModelPackage.from_pretrained(uninterrupted)
    assert package.input_size == (32, 16)
    assert package.config.trained_on == {"identities": 6, "images": 48}
    records = [json.loads(line) for line in (uninterrupted / "losses.jsonl").read_text().splitlines()]
    steps = records[0]["steps"]
    assert [(r["epoch"], r["step"]) for r in records[:steps]] == [(1, s + 1) for s in range(steps)]
    assert {"total", "identity", "triplet", "centre", "ordered", "learning_rate"} <= records[0].keys()
    for r in records:
        assert r["total"] == pytest.approx(r["identity"] + r["triplet"] + 0.0005 * r["centre"], rel=1e-4)
    assert TrainConfig.load(uninterrupted / "recipe.yaml") == SMALL


def test_training_killed_at_any_step_resumes_to_the_same_weights(
    data: TrainingSet, uninterrupted: Path, tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("spawn")
    # Each process trains one step beyond the last checkpoint and is killed.
    for fatal in (1, 3, 4):
        process = processes.Process(target=die_at, args=(SMALL, data, tmp_path / "model", fatal))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    result = train(SMALL, data, tmp_path / "model", resume=True)
    same(tmp_path / "model", uninterrupted)
    assert result.losses["total"] > 0


def test_partial_checkpoint_is_ignored(data: TrainingSet, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, data, out, progress=interrupt_after(3))
    (out / "checkpoint.pt.partial").write_bytes(b"half a checkpoint")
    train(SMALL, data, out, resume=True)
    same(out, uninterrupted)


def test_checkpoint_without_newer_keys_is_resumed(data: TrainingSet, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, data, out, progress=interrupt_after(3))
    checkpoint = torch.load(out / "checkpoint.pt", weights_only=True)
    del checkpoint["config"]["atr_bag_seed"], checkpoint["skipped"]
    torch.save(checkpoint, out / "checkpoint.pt")
    train(SMALL, data, out, resume=True)
    same(out, uninterrupted)


def test_training_is_independent_of_global_randomness(data: TrainingSet, uninterrupted: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    np.random.seed(99)
    before = torch.get_rng_state()
    train(SMALL, data, tmp_path / "model")
    assert torch.equal(before, torch.get_rng_state())
    same(tmp_path / "model", uninterrupted)


def test_loss_falls_and_progress_is_reported(data: TrainingSet, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"epochs": 10, "learning_rate": 2e-3, "milestones": (), "cache_gib": 0.0})
    steps: list[tuple[int, int | None]] = []
    result = train(config, data, tmp_path / "model", progress=lambda done, total: steps.append((done, total)))
    first = json.loads((tmp_path / "model/losses.jsonl").read_text().splitlines()[0])
    assert steps == [(done, 10 * first["steps"]) for done in range(1, 10 * first["steps"] + 1)]
    assert result.epochs == 10
    assert result.losses["identity"] < 0.95 * first["identity"]
    assert result.losses["ordered"] > 0.0


def test_bfloat16_on_a_cpu(data: TrainingSet, tmp_path: Path) -> None:
    # The size the network is made for: on a few cells, convolutions of bfloat16 read uninitialised memory.
    config = SMALL.model_copy(update={"epochs": 1, "precision": "bfloat16", "input_size": (128, 64)})
    result = train(config, data, tmp_path / "model")
    assert np.isfinite(list(result.losses.values())).all()


def test_training_starts_from_another_package(data: TrainingSet, uninterrupted: Path, tmp_path: Path) -> None:
    # Next to no learning rate: what comes out is what went in, but for the BatchNorm statistics.
    config = SMALL.model_copy(update={"base": str(uninterrupted), "learning_rate": 1e-12, "epochs": 1})
    train(config, data, tmp_path / "model")
    before, after = (load_file(folder / "model.safetensors") for folder in (uninterrupted, tmp_path / "model"))
    for name in before:
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(before[name], after[name], atol=1e-8, rtol=0)


def break_steps(monkeypatch: pytest.MonkeyPatch, broken: Container[int]) -> None:
    """Give the network images that are not finite in some steps, counted from 1 over all calls."""
    calls = 0

    def normalise_or_break(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        images = normalise(*arguments)
        return images * torch.nan if calls in broken else images

    monkeypatch.setattr(state, "normalise", normalise_or_break)


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "losses.jsonl").read_text("utf-8").splitlines()]


def test_step_without_finite_loss_is_skipped_and_counted(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_steps(monkeypatch, {3, 5})
    result = train(SMALL, data, tmp_path / "model")
    records = read_log(tmp_path / "model")
    assert [index + 1 for index, record in enumerate(records) if "skipped" in record] == [3, 5]
    assert (records[2]["skipped"], records[2]["total"], result.skipped) == ("the loss is not finite", None, 2)
    assert np.isfinite(list(result.losses.values())).all()
    weights = load_file(tmp_path / "model/model.safetensors")
    assert all(torch.isfinite(values.float()).all() for values in weights.values())


def test_gradient_that_is_not_finite_is_skipped(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.TrainingRun, "_step", lambda run, total: False)
    with pytest.raises(WorkError, match="not finite in 10 steps in a row"):
        train(SMALL, data, tmp_path / "model")
    assert {record["skipped"] for record in read_log(tmp_path / "model")} == {"the gradient is not finite"}


def test_training_that_stays_infinite_stops_and_resumes_behind_the_skipped_steps(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SMALL.model_copy(update={"epochs": 5, "checkpoint_steps": 0})
    reached = []
    for _ in range(2):
        break_steps(monkeypatch, range(3, 100) if not reached else range(100))
        with pytest.raises(WorkError, match="lower learning_rate"):
            train(config, data, tmp_path / "model", resume=True)
        reached.append(len(read_log(tmp_path / "model")))
    assert reached == [22, 23]
    break_steps(monkeypatch, ())
    result = train(config, data, tmp_path / "model", resume=True)
    assert result.skipped == 21
    assert np.isfinite(list(result.losses.values())).all()


class TestRefusals:
    def test_used_folder_is_refused(self, data: TrainingSet, uninterrupted: Path) -> None:
        with pytest.raises(ModelError, match="already holds a training; pass --resume"):
            train(SMALL, data, uninterrupted)

    def test_other_configuration_is_refused(self, data: TrainingSet, uninterrupted: Path) -> None:
        with pytest.raises(ModelError, match=r"another configuration: seed \(0 there, 5 now\)"):
            train(SMALL.model_copy(update={"seed": 5}), data, uninterrupted, resume=True)

    def test_other_data_are_refused(self, data: TrainingSet, uninterrupted: Path) -> None:
        fewer = TrainingSet(paths=data.paths[:40], pids=data.pids[:40], camids=data.camids[:40])
        with pytest.raises(ModelError, match="has 6 identities, the data 5"):
            train(SMALL, fewer, uninterrupted, resume=True)

    def test_broken_checkpoint_is_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        (tmp_path / "checkpoint.pt").write_bytes(b"no")
        with pytest.raises(ModelError, match="cannot be read; delete it"):
            train(SMALL, data, tmp_path, resume=True)

    def test_unreadable_image_is_reported(self, data: TrainingSet, tmp_path: Path) -> None:
        (tmp_path / "0.png").write_bytes(b"")
        broken = TrainingSet(paths=(tmp_path / "0.png", *data.paths[1:]), pids=data.pids, camids=data.camids)
        with pytest.raises(DatasetError, match=r"training image .*0\.png"):
            train(SMALL, broken, tmp_path / "model")

    def test_infinite_loss_is_reported(self, data: TrainingSet, tmp_path: Path) -> None:
        config = SMALL.model_copy(update={"learning_rate": 1e30, "epochs": 5})
        with pytest.raises(WorkError, match="lower learning_rate"):
            train(config, data, tmp_path / "model")

    def test_imagenet_weights_for_tiny_are_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no ImageNet weights for tiny; give a model package"):
            train(SMALL.model_copy(update={"weights": "x"}), data, tmp_path / "model")

    def test_imagenet_weights_that_do_not_ship_are_refused(self, data: TrainingSet, tmp_path: Path) -> None:
        network = SMALL.network.model_copy(update={"backbone": "resnet50"})
        with pytest.raises(ConfigError, match="weights=imagenet: none come with Vestigo for resnet50; give a file"):
            train(SMALL.model_copy(update={"weights": "imagenet", "network": network}), data, tmp_path / "model")

    def test_other_base_is_refused(self, data: TrainingSet, uninterrupted: Path, tmp_path: Path) -> None:
        gem = SMALL.network.model_copy(update={"pooling": "gem"})
        with pytest.raises(ConfigError, match="has another network"):
            train(SMALL.model_copy(update={"base": str(uninterrupted), "network": gem}), data, tmp_path / "model")

    def test_empty_split_is_refused(self) -> None:
        empty = np.zeros(0, dtype=np.int64)
        with pytest.raises(DatasetError, match="holds no image"):
            TrainingSet(paths=(), pids=empty, camids=empty)
