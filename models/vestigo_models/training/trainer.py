"""Training of a network (docs/method.md, "Training"), which can be interrupted at any step and resumed.

Everything random depends on (seed, epoch, step) only. So a resumed training gives, on a CPU, the weights of an
uninterrupted one, bit for bit.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vestigo_models.errors import ConfigError, ModelError
from vestigo_models.inference.package import PackageConfig, package_network
from vestigo_models.networks.backbones import BACKBONES
from vestigo_models.networks.outputs import PretrainedBackbone
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.regions import REGIONS
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.relabel import first_refresh
from vestigo_models.training.state import CHECKPOINT, IMAGENET, TrainingRun, feature_grid, read_checkpoint

LOG, RECIPE = "losses.jsonl", "recipe.yaml"
STEP_FIELDS = ("epoch", "step", "steps", "learning_rate", "refresh")
"""Fields of the log besides the terms of `Objective` and, in a skipped step, the reason as `skipped`."""


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training."""

    model: Path  # folder of the written package
    epochs: int
    losses: dict[str, float]  # terms averaged over the last epoch
    seconds: float
    skipped: int = 0  # steps that were not taken because the loss or its gradient was not finite


def train(
    config: TrainConfig,
    data: TrainingSet,
    out: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    ranks: Ranks | None = None,
    progress: ProgressCallback = ignore_progress,
    trained_on: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train a network and write its model package, `recipe.yaml`, `losses.jsonl` and `checkpoint.pt`.

    The folder `out` is shared by the workers that train together (`ranks`), each on its share of every batch; by
    default there is only this process. With `resume`, training continues from the checkpoint in `out`, if there is one.
    `progress` is called after each step with finished and total steps, and `trained_on` has facts for the package.

    Raises:
        ConfigError: If the configuration does not fit the data or the number of workers.
        DatasetError: If a training image cannot be read.
        ModelError: If weights do not fit, or `out` holds a training and `resume` is not set or its checkpoint differs.
        WorkError: If the loss stays not finite; single steps are skipped, and counted in the result and the log.
    """
    started = time.monotonic()
    ranks = ranks or Ranks()
    _check(config, data, ranks)
    if (out / CHECKPOINT).exists() and not resume:
        raise ModelError(f"{out} already holds a training; pass --resume to continue it, or give another folder")
    out.mkdir(parents=True, exist_ok=True)
    run = TrainingRun(config, data, device, ranks)
    if state := read_checkpoint(out, config):
        run.load(state)
    with (out / LOG if ranks.rank == 0 else Path(os.devnull)).open("a", encoding="utf-8") as log:
        if ranks.rank == 0:  # steps after the checkpoint are repeated
            log.truncate(run.log_bytes)
            log.seek(run.log_bytes)
        run.train(out, log, progress)
    if ranks.rank == 0:
        _write_package(config, run, out, trained_on or {})
    ranks.barrier()
    seconds = time.monotonic() - started
    return TrainingResult(out, config.epochs, losses=_mean_losses(out), seconds=seconds, skipped=run.skipped)


def _check(config: TrainConfig, data: TrainingSet, ranks: Ranks) -> None:
    if config.batch_identities % ranks.size:
        raise ConfigError(f"batch_identities={config.batch_identities}: not a multiple of the {ranks.size} workers")
    if config.network.attributes != "none" and data.attributes is None:
        raise ConfigError(f"network.attributes={config.network.attributes}: the training data has no attribute labels")
    if not config.needs_parser:
        return
    if data.parsed is None or data.parsed.shape[1:] != feature_grid(config):
        raise ConfigError(f"fls.labels={config.fls.labels}: label maps of a parser are needed, on the network's grid")
    if (highest := int(data.parsed.max())) >= len(REGIONS):
        raise ConfigError(
            f"the label maps of the parser hold region {highest}; ids end at {len(REGIONS) - 1}"
            f" ({', '.join(REGIONS.names)}): merge the parser's classes into regions, as --parser does"
        )


def _mean_losses(out: Path) -> dict[str, float]:
    """Return the terms averaged over the steps of the last epoch in which a step was taken."""
    records = [json.loads(line) for line in (out / LOG).read_text("utf-8").splitlines()]
    taken = [record for record in records if "skipped" not in record]
    last = [record for record in taken if record["epoch"] == taken[-1]["epoch"]]
    return {name: float(np.mean([record[name] for record in last])) for name in last[0] if name not in STEP_FIELDS}


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


def recipe_warnings(config: TrainConfig, *, is_rendered: bool) -> list[str]:
    """Return one line for each property of a configuration that makes its model worse than expected.

    `is_rendered` tells whether the training images show rendered people, as those of the default parser do.
    """
    lines = []
    network = config.network.backbone
    backbone = BACKBONES[network]
    if issubclass(backbone, PretrainedBackbone) and config.weights is None and config.base is None:
        remedy = "no ImageNet weights come with Vestigo; give some with --weights"
        if backbone.shipped is not None:
            remedy = f"--weights {IMAGENET} starts from those that come with Vestigo"
        lines.append(f"backbone {network} starts from random weights; {remedy}")
    if config.needs_parser and config.parser == "default" and not is_rendered:
        lines.append(
            "the default parser labels these images, but was trained on rendered people; give one of real images"
            " with --parser, such as schp:CHECKPOINT"
        )
    first = first_refresh(config)
    if first is not None and first > min(config.epochs, config.relabel_until):
        lines.append(
            f"the label maps are never refreshed: {config.epochs} epochs, and the first refresh begins epoch {first};"
            " train longer or lower fls_start_epoch, as in --set fls_start_epoch=2"
        )
    return lines
