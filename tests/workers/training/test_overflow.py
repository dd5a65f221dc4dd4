"""Two processes train one model with scaled gradients, and an overflow in one of them is one in both."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist

from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet
from vestigo_models.training.state import OVERFLOW, TrainingRun
from vestigo_workers.training.distributed import ProcessGroup

# Each process imports torch and Ray.
pytestmark = pytest.mark.slow

WORKERS, STEPS, OVERFLOWING = 2, 3, 1
CONFIG = TrainConfig.model_validate(
    {"network": {"backbone": "tiny"}, "input_size": (32, 16), "batch_identities": 2, "images_per_identity": 2}
)


def train_share(rank: int, folder: Path) -> None:
    """Take steps of which the gradient of one overflows on worker 1, and save what each step leaves."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=WORKERS)
    paths = tuple(folder / f"{index}.png" for index in range(4))
    data = TrainingSet(paths=paths, pids=np.arange(4) // 2, camids=np.zeros(4, dtype=np.int64))
    run = TrainingRun(CONFIG, data, "cpu", ProcessGroup())
    run.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    parameter = next(p for p in run.network.parameters() if p.requires_grad)
    rows = np.arange(2) + 2 * rank
    images = np.stack([run.reader.read(int(row)) for row in rows])
    after = []
    for step in range(STEPS):
        run.step = step
        hook = None
        if (rank, step) == (1, OVERFLOWING):
            hook = parameter.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
        terms = run.update(images, None, rows)
        if hook is not None:
            hook.remove()
        learnt = [*run.network.parameters(), *run.objective.parameters()]
        weights = torch.cat([p.detach().flatten() for p in learnt])
        after.append({"weights": weights, "scale": run.scaler.get_scale(), "skipped": terms.get("skipped", "")})
    torch.save(after, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_overflow_of_one_worker_skips_the_step_of_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), rng.integers(0, 256, (32, 16, 3), dtype=np.uint8))
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=train_share, args=(rank, tmp_path)) for rank in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WORKERS
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORKERS))
    for ours, theirs in zip(first, second, strict=True):
        torch.testing.assert_close(ours["weights"], theirs["weights"], rtol=0, atol=0)
        assert (ours["scale"], ours["skipped"]) == (theirs["scale"], theirs["skipped"])
        assert torch.isfinite(ours["weights"]).all()
    assert [step["skipped"] for step in first] == ["", OVERFLOW, ""]
    assert [step["scale"] for step in first] == [1024.0, 512.0, 512.0]
    # The centres have an optimiser of their own, which is skipped as well.
    assert torch.equal(first[0]["weights"], first[1]["weights"])
    assert not torch.equal(first[1]["weights"], first[2]["weights"])
