"""Train on several workers of Ray Train: the training loop of floor 1 with a torch.distributed process group.

Every worker takes its share of each batch, the triplet loss compares the whole batch, and gradients are averaged.
BatchNorm normalises each worker's share, so that two workers give other weights than one.
"""

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
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.state import PACKAGE_PREFIX
from vestigo_models.training.trainer import LOG, TrainingResult, train
from vestigo_workers.executors.cluster import connect
from vestigo_workers.indexing.request import absolute_reference


def run_on_workers(
    function: Callable[[dict[Any, Any]], Any],
    settings: dict[str, Any],
    *,
    workers: int,
    on_gpus: bool,
    remedy: str,
    backend: str | None = None,
) -> Any:
    """Call `function(settings)` on every worker, each with its own GPU or CPU, and return the first one's result.

    The workers are one process group; its `backend` is by default nccl on GPUs, else gloo. `settings` can be pickled.
    `remedy` ends the message if a worker dies.

    Raises:
        VestigoError: The function raised it on a worker.
        WorkError: A worker died, or there are too few resources for the workers.
    """
    connected = connect()
    try:
        with TemporaryDirectory() as folder:
            trainer = TorchTrainer(
                function,
                train_loop_config=settings,
                scaling_config=ScalingConfig(num_workers=workers, use_gpu=on_gpus),
                torch_config=TorchConfig(backend=backend or ("nccl" if on_gpus else "gloo")),
                run_config=RunConfig(name="vestigo", storage_path=folder),
            )
            result: Any = trainer.fit()
            return result.return_value
    except WorkerGroupError as error:
        causes = list(error.worker_failures.values())
        ours = next((cause for cause in causes if isinstance(cause, VestigoError)), None)
        if ours is not None:
            raise ours from None
        raise WorkError(f"a training worker died ({_line(causes[0])}); {remedy}") from None
    except ControllerError as error:
        raise WorkError(f"Ray Train could not run {workers} workers: {_line(error.controller_failure)}") from None
    finally:
        if connected:
            ray.shutdown()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


class ProcessGroup(Ranks):
    """The process group of Ray Train."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def gather(self, x: Tensor) -> Tensor:
        """See `Ranks.gather`."""
        return torch.cat(all_gather(x))  # type: ignore[no-untyped-call]

    def mean(self, x: Tensor) -> Tensor:
        """See `Ranks.mean`."""
        return self._average(x.clone())

    def sum(self, x: Tensor) -> Tensor:
        """See `Ranks.sum`."""
        x = x.clone()
        dist.all_reduce(x)
        return x

    def broadcast_buffers(self, module: nn.Module) -> None:
        """See `Ranks.broadcast_buffers`."""
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """See `Ranks.average_gradients`; sends one message for all parameters."""
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
    progress: ProgressCallback = ignore_progress,
    trained_on: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train as `vestigo_models.training.trainer.train` does, on Ray workers with a GPU each, or on CPUs.

    Every node must see the images and `out` under the same path. If a worker dies the training ends; `resume`
    continues from its last checkpoint.

    Raises:
        VestigoError: As `train` on any worker.
        WorkError: A worker died, or there are too few resources for the workers.
    """
    started = time.monotonic()
    # Ray Train runs workers in a folder of their own.
    settings = {
        "config": config.model_copy(update={key: _absolute(getattr(config, key)) for key in ("weights", "base")}),
        "data": replace(data, paths=tuple(path.absolute() for path in data.paths)),
        "out": out.resolve(),
        "resume": resume,
        "trained_on": trained_on,
    }
    with _report_from_log(out / LOG, config.epochs, progress):
        result: TrainingResult = run_on_workers(
            _train_on_worker,
            settings,
            workers=workers,
            on_gpus=device.startswith("cuda"),
            remedy="--resume continues from the checkpoint",
        )
    return replace(result, model=out, seconds=time.monotonic() - started)


def _absolute(ref: str | None) -> str | None:
    """Return the reference of a package or weights file with an absolute path, if it has a path."""
    if ref is None or not ref.startswith(PACKAGE_PREFIX):
        return None if ref is None else absolute_reference(ref)
    return PACKAGE_PREFIX + absolute_reference(ref.removeprefix(PACKAGE_PREFIX))


def _train_on_worker(settings: dict[Any, Any]) -> Any:
    device = str(ray.train.torch.get_device())
    return train(**settings, device=device, ranks=ProcessGroup())


@contextmanager
def _report_from_log(log: Path, epochs: int, progress: ProgressCallback) -> Iterator[None]:
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(1.0):
            lines = log.read_text("utf-8").splitlines() if log.exists() else []
            if lines and lines[-1].endswith("}"):
                record = json.loads(lines[-1])
                steps = record["steps"]
                progress((record["epoch"] - 1) * steps + record["step"], epochs * steps)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
