"""Adapt a package to crops, in this process or on several workers of Ray Train."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train.torch

from vestigo_models.adaptation.adapt import adapt
from vestigo_models.adaptation.config import AdaptationConfig
from vestigo_models.adaptation.data import AdaptationSet
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_workers.training.distributed import ProcessGroup, run_on_workers


def adapt_package(
    base: Path,
    data: AdaptationSet,
    config: AdaptationConfig,
    out: Path,
    *,
    workers: int,
    device: str,
    open_progress: OpenProgress,
    trained_on: dict[str, Any],
) -> None:
    """Adapt as `vestigo_models.adaptation.adapt.adapt` does, here or on `workers` workers with a GPU or CPU each.

    All workers must see the crops, `base` and `out` under the same path.

    Raises:
        VestigoError: As `adapt`.
        WorkError: A worker died, or there are too few resources for the workers; the same call continues.
    """
    settings: dict[str, Any] = {
        "base": base.resolve(),
        "data": replace(data, paths=tuple(path.resolve() for path in data.paths)),
        "config": config,
        "out": out.resolve(),
        "trained_on": trained_on,
    }
    if workers == 1:
        adapt(**settings, device=device, open_progress=open_progress)
        return
    run_on_workers(
        _adapt_on_worker,
        settings,
        workers=workers,
        on_gpus=device.startswith("cuda"),
        remedy="the same command continues from the last epoch",
    )


def _adapt_on_worker(settings: dict[Any, Any]) -> None:
    adapt(**settings, device=str(ray.train.torch.get_device()), ranks=ProcessGroup(), open_progress=ignore_stages)
