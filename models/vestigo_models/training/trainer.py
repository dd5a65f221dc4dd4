"""Training (specification, sections 5, 9 and 10): a plain loop that can be killed at any step.

Everything random is keyed by (seed, epoch, step) instead of being drawn from a global stream, so a training that was
killed and resumed from its last checkpoint ends, on a CPU, with the weights of an undisturbed one, bit for bit.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import yaml

from vestigo_models.errors import ConfigError, ModelError
from vestigo_models.inference.package import PackageConfig, package_network
from vestigo_models.training.checkpoint import CHECKPOINT, read_checkpoint
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet
from vestigo_models.training.distributed import Alone, Ranks
from vestigo_models.training.state import Progress, TrainingRun, grid_of

LOG, RECIPE = "losses.jsonl", "recipe.yaml"
ABOUT = ("epoch", "step", "steps", "learning_rate")
"""What a line of the log says besides the terms of `Objective`."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The package that was written, and the loss terms averaged over the last epoch."""

    model: Path
    epochs: int
    losses: dict[str, float]
    seconds: float


def train(
    config: TrainConfig,
    data: TrainingSet,
    out: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    ranks: Ranks | None = None,
    progress: Callable[[Progress], None] | None = None,
    trained_on: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train and write a model package, its `recipe.yaml`, `losses.jsonl` and `checkpoint.pt` into the folder `out`.

    With several `ranks`, each takes its share of every batch and `out` is a folder that all of them see. `progress` is
    called after every step; `trained_on` goes into the package.

    Raises:
        ConfigError: the configuration asks for what the data or the workers cannot give.
        DatasetError: a training image cannot be read.
        ModelError: the weights do not fit; `out` holds a training and `resume` is not set, or another one's checkpoint.
        WorkError: the loss is no longer a number.
    """
    started = time.monotonic()
    ranks = ranks or Alone()
    _check(config, data, ranks)
    if (out / CHECKPOINT).exists() and not resume:
        raise ModelError(f"{out} already holds a training; pass --resume to go on with it, or give another folder")
    out.mkdir(parents=True, exist_ok=True)
    run = TrainingRun(config, data, device, ranks)
    if state := read_checkpoint(out, config):
        run.load(state)
    with _open_log(out, run.log_bytes, ranks) as log:
        for done in run.go(out, log):
            if progress:
                progress(done)
    if ranks.rank == 0:
        _write_package(config, run, out, trained_on or {})
    ranks.barrier()
    losses = _last_epoch(out, config.epochs)
    return TrainingResult(model=out, epochs=config.epochs, losses=losses, seconds=time.monotonic() - started)


def _check(config: TrainConfig, data: TrainingSet, ranks: Ranks) -> None:
    if config.batch_identities % ranks.size:
        raise ConfigError(f"batch_identities={config.batch_identities}: not a multiple of the {ranks.size} workers")
    if config.network.attributes != "none" and data.attributes is None:
        raise ConfigError(f"network.attributes={config.network.attributes}: the training data has no attribute labels")
    if config.needs_parser and (data.parsed is None or data.parsed.shape[1:] != grid_of(config)):
        raise ConfigError(f"fls.labels={config.fls.labels}: label maps of a parser are needed, on the network's grid")


def _open_log(out: Path, length: int, ranks: Ranks) -> TextIO:
    """Open the log for appending, without the steps after the checkpoint, which will be done again."""
    path = out / LOG if ranks.rank == 0 else Path(os.devnull)
    log = path.open("a", encoding="utf-8")
    if ranks.rank == 0:
        log.truncate(length)
        log.seek(length)
    return log


def _last_epoch(out: Path, epoch: int) -> dict[str, float]:
    records = [json.loads(line) for line in (out / LOG).read_text("utf-8").splitlines()]
    last = [record for record in records if record["epoch"] == epoch]
    return {name: float(np.mean([record[name] for record in last])) for name in last[0] if name not in ABOUT}


def _write_package(config: TrainConfig, run: TrainingRun, out: Path, trained_on: dict[str, Any]) -> None:
    package = PackageConfig(
        name=config.network.backbone,
        network=config.network,
        input_size=run.size,
        attribute_schema=None if run.schema is None else run.schema.to_dict(),
        region_schema=config.region_schema.to_dict() if config.network.regions else None,
        fls=config.fls if config.network.regions else None,
        trained_on={**trained_on, "identities": run.data.identities, "images": len(run.data.paths)},
    )
    package_network(package, run.network).save_pretrained(out)
    recipe = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (out / RECIPE).write_text(recipe, encoding="utf-8")
