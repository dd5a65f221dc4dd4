"""A function on several workers of Ray Train, and its errors brought home in one line."""

from __future__ import annotations

from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray.train import ControllerError, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer

from vestigo_models.errors import VestigoError, WorkError
from vestigo_workers.executors.ray__cluster import connect


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
