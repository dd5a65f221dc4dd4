"""Training on several workers through Ray Train: the loop of floor 1, with torch.distributed behind its seam.

Every worker takes its share of each batch, distances of the triplet loss reach over the whole batch, and gradients
are averaged. BatchNorm normalises each worker's own share, so the weights of two workers are not those of one; one
worker runs exactly the plain loop.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
import ray.train.torch
import torch
import torch.distributed as dist
from ray.train import ControllerError, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from vestigo_models.errors import VestigoError, WorkError
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet
from vestigo_models.training.state import Progress
from vestigo_models.training.trainer import LOG, TrainingResult, train
from vestigo_workers.executors.ray import connect


def run_on_workers(
    function: Callable[[dict[Any, Any]], Any],
    settings: dict[str, Any],
    *,
    workers: int,
    on_gpus: bool,
    remedy: str,
    backend: str | None = None,
) -> Any:
    """Call `function(settings)` on every worker, each with a GPU or a CPU of its own; what the first one returns.

    They share a process group of `backend`: nccl on GPUs, else gloo, where none is named.

    Raises:
        What the function raises on any worker, where it is ours; WorkError, which ends with `remedy`, where a worker
        dies, and where there are not enough of them.
    """
    forget = connect()
    try:
        with TemporaryDirectory() as notes:
            trainer = TorchTrainer(
                function,
                train_loop_config=settings,
                scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpus),
                torch_config=TorchConfig(backend=backend or ("nccl" if on_gpus else "gloo")),
                run_config=RunConfig(name="vestigo", storage_path=notes),
            )
            ended: Any = trainer.fit()
            return ended.return_value
    except WorkerGroupError as error:
        causes = list(error.worker_failures.values())
        ours = next((cause for cause in causes if isinstance(cause, VestigoError)), None)
        if ours is not None:
            raise ours from None
        raise WorkError(f"a training worker died ({_line(causes[0])}); {remedy}") from None
    except ControllerError as error:
        raise WorkError(f"Ray Train could not run {workers} workers: {_line(error.controller_failure)}") from None
    finally:
        if forget:
            ray.shutdown()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


class ProcessGroup:
    """`vestigo_models.training.distributed.Ranks` on the process group that Ray Train has set up."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def gather(self, x: Tensor) -> Tensor:
        """See `Ranks.gather`."""
        return torch.cat(all_gather(x))  # type: ignore[no-untyped-call]

    def mean(self, x: Tensor) -> Tensor:
        """See `Ranks.mean`."""
        return self._average(x.clone())

    def total(self, x: Tensor) -> Tensor:
        """See `Ranks.total`."""
        x = x.clone()
        dist.all_reduce(x)
        return x

    def agree(self, module: nn.Module) -> None:
        """See `Ranks.agree`."""
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """See `Ranks.average_gradients`; one message for all of them."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self._average(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def barrier(self) -> None:
        """See `Ranks.barrier`."""
        dist.barrier()

    def _average(self, x: Tensor) -> Tensor:
        dist.all_reduce(x)
        return x.div_(self.size)


def train_distributed(
    config: TrainConfig,
    data: TrainingSet,
    out: Path,
    *,
    workers: int,
    resume: bool = False,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
    trained_on: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train as `vestigo_models.training.trainer.train` does, on Ray workers: with nccl and a GPU each, or gloo on CPUs.

    The images and `out` lie in folders that every node sees under the same path. A worker that dies ends the training;
    `resume` goes on from its last checkpoint.

    Raises:
        What `train` raises on any worker; WorkError when the workers themselves fail.
    """
    started = time.monotonic()
    settings = {"config": config, "data": data, "out": out.resolve(), "resume": resume, "trained_on": trained_on}
    with _followed(out / LOG, config.epochs, progress):
        result: TrainingResult = run_on_workers(
            _train_on_worker,
            settings,
            workers=workers,
            on_gpus=device.startswith("cuda"),
            remedy="--resume goes on from the checkpoint",
        )
    return replace(result, model=out, seconds=time.monotonic() - started)


def _train_on_worker(settings: dict[Any, Any]) -> Any:
    device = str(ray.train.torch.get_device())
    return train(**settings, device=device, ranks=ProcessGroup())


@contextmanager
def _followed(log: Path, epochs: int, progress: Callable[[Progress], None] | None) -> Iterator[None]:
    """Report progress from the log that the first worker writes, as its process is not ours."""
    ended = threading.Event()

    def follow() -> None:
        while progress and not ended.wait(1.0):
            lines = log.read_text("utf-8").splitlines() if log.exists() else []
            if lines and lines[-1].endswith("}"):
                record = json.loads(lines[-1])
                progress(Progress(epochs=epochs, losses={}, **{k: record[k] for k in ("epoch", "step", "steps")}))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
