"""One cell of an ablation: a configuration trained with one seed and judged, in a folder of its own.

The folder holds the training (checkpoint, log, package), then, written whole and last, `result.json`. A cell that was
stopped at any moment goes on from its checkpoint; one with a result is never touched again.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vestigo.datasets.reid import REGIONS, ReidDataset, region_maps
from vestigo.evaluation.evaluate import judge_model
from vestigo.evaluation.filter_trials import try_filters
from vestigo.evaluation.options import Options
from vestigo.evaluation.regions import label_overlap
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.training.checkpoint import CHECKPOINT, read_checkpoint
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import TrainingSet
from vestigo_models.training.state import Progress
from vestigo_models.training.trainer import train

RESULT, CLOCK, LOCK = "result.json", "clock.json", ".lock"
FILTERED = "full"
"""The configuration whose attributes filter."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one training of an ablation needs.

    Attributes:
        config: name of the shipped configuration; `recipe` is what the ablation makes of it, seed and all.
        folder: the cell's own.
        parsed: file with what the parser says of the training images, None where the recipe needs no parser.
    """

    config: str
    seed: int
    recipe: TrainConfig
    dataset: ReidDataset
    folder: Path
    parsed: Path | None
    device: str

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return (self.folder / RESULT).is_file()


def run_cell(cell: Cell, report: Callable[[int], None] = lambda epoch: None) -> None:
    """Train, or go on with the training, judge, and write the result; `report` hears each epoch that is done.

    Computes on one thread, so that cells side by side do not disturb each other.

    Raises:
        What `train` and `judge_model` raise.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # A process whose own starter was killed may still be at this cell; it ends with its epoch.
    with alone(cell.folder, wait=True):
        if not cell.done:
            _run(cell, report)


def _run(cell: Cell, report: Callable[[int], None]) -> None:
    clock = _Clock(cell.folder)
    resume = (cell.folder / CHECKPOINT).is_file()

    def follow(at: Progress) -> None:
        if at.step == at.steps:
            clock.save()
            report(at.epoch)

    trained = train(
        cell.recipe,
        _training_set(cell),
        cell.folder,
        resume=resume,
        device=cell.device,
        progress=follow,
        trained_on={
            "dataset": cell.dataset.name,
            "command": f"vestigo ablate {cell.dataset.root.resolve().name}: {cell.config}, seed {cell.seed}",
        },
    )
    clock.save()
    started = time.monotonic()
    judged = _judge(cell)
    result = {
        "config": cell.config,
        "seed": cell.seed,
        "device": device_words(cell.device),
        "epochs": trained.epochs,
        "images": len(cell.dataset.train),
        "losses": trained.losses,
        **judged,
        "seconds": clock.seconds,
        "judging_seconds": time.monotonic() - started,
        "cpu_seconds": clock.cpu_seconds,
    }
    write_json(cell.folder / RESULT, result)


@contextmanager
def alone(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Let nobody else work in a folder, which is made: two trainings of one cell would write one checkpoint.

    Raises:
        ConfigError: somebody does, and we do not `wait`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ConfigError(f"{folder}: another ablation works in this folder; wait for it or end it") from None
        yield


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file whole or not at all, durably."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def device_words(device: str) -> str:
    """What computes, in words: the GPU's name, or that it is a thread of a processor."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "one CPU thread"


def _training_set(cell: Cell) -> TrainingSet:
    split = cell.dataset.train
    has_attributes = cell.recipe.network.attributes != "none"
    parsed: NDArray[np.uint8] | None = None
    if cell.parsed is not None:
        with np.load(cell.parsed) as held:
            parsed = held["labels"]
    return TrainingSet(
        paths=split.paths,
        pids=split.relabelled()[0],
        camids=split.camids,
        schema=cell.dataset.schema if has_attributes else None,
        attributes=split.labels if has_attributes else None,
        parsed=parsed,
    )


def _judge(cell: Cell) -> dict[str, Any]:
    """The figures of a trained cell: percent, the AUC and shares of the filter as fractions."""
    extractor = Extractor(ModelPackage.from_pretrained(cell.folder), device=cell.device)
    found = judge_model(cell.dataset, extractor, Options())
    attributes = found.attributes.metrics if found.attributes else None
    trials = try_filters(cell.dataset, extractor) if cell.config == FILTERED else []
    return {
        "metrics": {
            "mAP": found.metrics.mAP,
            "mINP": found.metrics.mINP,
            "rank1": found.metrics.cmc[1],
            "rank5": found.metrics.cmc[5],
            "queries": found.metrics.queries,
            "gallery": len(found.gallery),
        },
        "attributes": None
        if attributes is None
        else {
            "official": attributes.official,
            "mean": attributes.official_mean,
            "balanced": attributes.balanced,
        },
        "regions": None if found.regions is None else {"iou": found.regions.iou, "mean": found.regions.mean},
        "belongings_auc": found.belongings_auc,
        "labels": _labels(cell),
        "filter": [asdict(trial) for trial in trials],
        "notes": list(found.notes),
    }


def _labels(cell: Cell) -> dict[str, float | None] | None:
    """How far the last label maps that the network learnt from agree with the dataset's, where there are both."""
    state = read_checkpoint(cell.folder, cell.recipe)
    if state is None or state["maps"] is None or not (cell.dataset.root / REGIONS).is_dir():
        return None
    maps = region_maps(cell.dataset.root, cell.dataset.train.paths)
    return label_overlap(state["maps"].numpy(), cell.recipe.region_schema, maps)


class _Clock:
    """Time spent on a cell's training over all its processes: wall clock and CPU, in seconds."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CLOCK
        self._before = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self.seconds = self.cpu_seconds = 0.0

    def save(self) -> None:
        """Remember what was spent until now."""
        self.seconds = self._before.get("seconds", 0.0) + time.monotonic() - self._wall
        self.cpu_seconds = self._before.get("cpu_seconds", 0.0) + time.process_time() - self._cpu
        write_json(self._path, {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds})
