"""Training through Ray Train: one worker is the plain loop bit for bit, two train one model, and both resume."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vestigo_models.errors import ConfigError, DatasetError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet, identity_batches
from vestigo_models.training.trainer import train
from vestigo_workers.training.distributed import train_distributed

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

SMALL = TrainConfig.model_validate(
    {
        "network": {"backbone": "tiny"},
        "input_size": (32, 16),
        "epochs": 2,
        "batch_identities": 4,
        "images_per_identity": 2,
        "checkpoint_steps": 1,
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(24)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (32, 16, 3), dtype=np.uint8))
    return TrainingSet(paths=tuple(paths), pids=np.arange(24) // 4, camids=np.zeros(24, dtype=np.int64))


def test_one_ray_worker_gives_weights_of_plain_loop(data: TrainingSet, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    result = train_distributed(SMALL, data, tmp_path / "ray", workers=1, progress=lambda *step: steps.append(step))
    plain = train(SMALL, data, tmp_path / "plain")
    # Gathering adds up the same gradients in another order, so the last bits differ.
    assert result.losses == pytest.approx(plain.losses, rel=1e-5)
    weights, others = load_file(tmp_path / "ray/model.safetensors"), load_file(tmp_path / "plain/model.safetensors")
    for name in weights:
        torch.testing.assert_close(weights[name], others[name], rtol=1e-3, atol=1e-4)
    assert all(0 < done <= total for done, total in steps)


def test_two_workers_train_one_model(data: TrainingSet, tmp_path: Path) -> None:
    train_distributed(SMALL, data, tmp_path / "two", workers=2)
    train(SMALL.model_copy(update={"epochs": 1}), data, tmp_path / "one")
    # Before anything is learnt both see the same batch; they part because BatchNorm sees half of it.
    double, single = (json.loads((tmp_path / f / "losses.jsonl").read_text().splitlines()[0]) for f in ("two", "one"))
    assert double["identity"] == pytest.approx(single["identity"], rel=0.02)

    # A training that loses an image on its way stops; with the image back it ends as if nothing had happened.
    plan = identity_batches(data.pids, SMALL, 1)
    lost = data.paths[plan[-1, 0]]
    assert plan[-1, 0] not in plan[0]
    kept = lost.read_bytes()
    lost.unlink()
    with pytest.raises(DatasetError, match=lost.name):
        train_distributed(SMALL, data, tmp_path / "again", workers=2)
    lost.write_bytes(kept)
    train_distributed(SMALL, data, tmp_path / "again", workers=2, resume=True)
    logs = [(tmp_path / folder / "losses.jsonl").read_text() for folder in ("two", "again")]
    assert logs[0] == logs[1]
    assert len({ModelPackage.from_pretrained(tmp_path / folder).digest for folder in ("two", "again")}) == 1


def test_relative_paths_are_found_by_workers(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(SMALL.model_copy(update={"epochs": 1}), data, Path("base"))
    relative = replace(data, paths=tuple(Path(os.path.relpath(path)) for path in data.paths))
    config = SMALL.model_copy(update={"epochs": 1, "weights": "package:base", "base": "base"})
    result = train_distributed(config, relative, Path("mine"), workers=1)
    assert (result.epochs, result.model) == (1, Path("mine"))
    assert ModelPackage.from_pretrained(tmp_path / "mine").config.network == config.network


def test_error_of_worker_keeps_type_and_message(data: TrainingSet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_identities=4: not a multiple of the 3 workers"):
        train_distributed(SMALL, data, tmp_path / "a", workers=3)


@pytest.mark.parametrize("labels", ["fls", "cluster"])
def test_two_workers_share_refresh_of_label_maps(labels: str, data: TrainingSet, tmp_path: Path) -> None:
    keys = {
        "fls.labels": labels,
        "fls_start_epoch": 1,
        "epochs": 1,
        "network.channels": 64,
        "network.middle_channels": 8,
    }
    config = TrainConfig.load("fls", {**keys, **SMALL.model_dump(include={"input_size", "batch_identities"}),
                                      "images_per_identity": 2}, backbone="tiny")  # fmt: skip
    rng = np.random.default_rng(0)
    parsed = np.zeros((24, 16, 8), dtype=np.uint8)
    parsed[:, 2:14, 2:6] = rng.integers(1, 4, (24, 12, 4))
    given = replace(data, parsed=parsed if labels == "fls" else None)
    train_distributed(config, given, tmp_path / "two", workers=2)
    train(config, given, tmp_path / "one")
    # The maps were made before the first step, from the same weights.
    double, single = (torch.load(tmp_path / f / "checkpoint.pt", weights_only=True)["maps"] for f in ("two", "one"))
    assert torch.equal(double, single)
    assert len(single.unique()) > 1
