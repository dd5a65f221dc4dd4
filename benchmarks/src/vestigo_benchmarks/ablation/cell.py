"""One cell of an ablation: a configuration trained with one seed and evaluated, in a folder of its own.

The folder holds the training (checkpoint, log, package), then `identities.json`, the scores of each identity, and then
`result.json`, both written atomically. An interrupted cell continues from its checkpoint; a cell with a result is never
changed.
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
from vestigo.evaluation.evaluate import evaluate_model
from vestigo.evaluation.metrics.ranking import SCORED
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.evaluation.regions import label_overlap
from vestigo.evaluation.result import Evaluation
from vestigo_benchmarks.ablation.filter_trials import try_filters
from vestigo_models.arrays import Int64Array
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.state import CHECKPOINT, read_checkpoint
from vestigo_models.training.trainer import train
from vestigo_workers.training.data import training_set

RESULT, IDENTITIES, CLOCK, LOCK = "result.json", "identities.json", "clock.json", ".lock"
FILTERED = "full"
"""The configuration whose attributes are tried as a filter."""


@dataclass(frozen=True, kw_only=True)
class AblationCell:
    """The inputs of one training of an ablation.

    Attributes:
        config: name of the shipped configuration; `recipe` is that configuration with the ablation's changes.
        folder: folder of the cell.
        parsed: file with the parser's label maps of the training images, None if the recipe needs no parser.
    """

    config: str
    seed: int
    recipe: TrainConfig
    dataset: ReidDataset
    folder: Path
    parsed: Path | None
    device: str

    @property
    def is_done(self) -> bool:
        """Whether the result exists."""
        return (self.folder / RESULT).is_file()


def run_cell(cell: AblationCell, report: Callable[[int], None] = lambda _: None) -> None:
    """Train, or resume the training, evaluate and write the result; `report` receives each finished epoch.

    It computes on one thread, so that parallel cells do not disturb each other.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # A process whose parent was killed may still run this cell; it ends with its epoch.
    with locked_folder(cell.folder, wait=True):
        if not cell.is_done:
            _train_and_evaluate(cell, report)


def _train_and_evaluate(cell: AblationCell, report: Callable[[int], None]) -> None:
    clock = _TrainingClock(cell.folder)
    resume = (cell.folder / CHECKPOINT).is_file()
    parsed = None
    if cell.parsed is not None:
        with np.load(cell.parsed) as arrays:
            parsed = arrays["labels"]

    def follow(done: int, total: int | None) -> None:
        epoch, rest = divmod(done * cell.recipe.epochs, total or done)
        if not rest:
            clock.save()
            report(epoch)

    trained = train(
        cell.recipe,
        training_set(cell.dataset, cell.recipe, parsed),
        cell.folder,
        resume=resume,
        device=cell.device,
        progress=follow,
        trained_on={
            "dataset": cell.dataset.name,
            "command": f"vestigo ablate {cell.dataset.source_name}: {cell.config}, seed {cell.seed}",
        },
    )
    clock.save()
    started = time.monotonic()
    scores, identities = _evaluate(cell)
    write_json(cell.folder / IDENTITIES, identities, indent=None)
    result = {
        "config": cell.config,
        "seed": cell.seed,
        "device": device_name(cell.device),
        "epochs": trained.epochs,
        "images": len(cell.dataset.train),
        "losses": trained.losses,
        **scores,
        "seconds": clock.seconds,
        "judging_seconds": time.monotonic() - started,
        "cpu_seconds": clock.cpu_seconds,
    }
    write_json(cell.folder / RESULT, result)


@contextmanager
def locked_folder(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Create a folder and lock it, so that two trainings do not write one checkpoint.

    Raises:
        ConfigError: Another process holds the lock and `wait` is false.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ConfigError(f"{folder}: another ablation works in this folder; wait for it or end it") from None
        yield


def write_json(path: Path, value: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write a file atomically and durably."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=indent) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def device_name(device: str) -> str:
    """Return the name of the GPU, or `one CPU thread`."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "one CPU thread"


def _evaluate(cell: AblationCell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of a trained cell, and those of each identity.

    Scores are in percent; the AUC and the filter's shares are fractions.
    """
    extractor = Extractor(ModelPackage.from_pretrained(cell.folder), device=cell.device)
    evaluation = evaluate_model(cell.dataset, extractor, EvaluationOptions(keep_camera_bias=True))
    metrics, regions = evaluation.metrics, evaluation.regions
    attributes = evaluation.attributes.metrics if evaluation.attributes else None
    trials = try_filters(cell.dataset, extractor) if cell.config == FILTERED else []
    scores = {
        "metrics": {
            "mAP": metrics.mAP,
            "mINP": metrics.mINP,
            "rank1": metrics.cmc[1],
            "rank5": metrics.cmc[5],
            "queries": metrics.queries,
            "gallery": len(evaluation.gallery),
        },
        "attributes": None
        if attributes is None
        else {"official": attributes.official, "mean": attributes.official_mean, "balanced": attributes.balanced},
        "regions": None if regions is None else {"iou": regions.iou, "mean": regions.mean},
        "belongings_auc": evaluation.belongings_auc,
        "labels": _label_overlap(cell),
        "filter": [asdict(trial) for trial in trials],
        "notes": list(evaluation.notes),
    }
    return scores, identity_scores(evaluation)


def identity_scores(evaluation: Evaluation) -> dict[str, Any]:
    """Return the sums of a model's scores over the images of each identity, in percent, for `Measure.sums`."""
    scored = evaluation.scores.status == SCORED
    scores, pids = evaluation.scores[scored], evaluation.query.pids[scored]
    identities: dict[str, Any] = {
        "retrieval": _sums(pids, {"mAP": scores.ap, "rank1": scores.first == 1}),
        "attributes": None,
    }
    if (attributes := evaluation.attributes) is not None:
        correct = dict(zip(attributes.schema.names, attributes.correct.T, strict=True))
        sums = _sums(evaluation.gallery.pids[attributes.images], correct)
        identities["attributes"] = {"pids": sums.pop("pids"), "images": sums.pop("images"), "official": sums}
    return identities


def _sums(pids: Int64Array, fractions: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    names, rows = np.unique(pids, return_inverse=True)
    sums = {
        name: (100.0 * np.bincount(rows, weights=values, minlength=len(names))).tolist()
        for name, values in fractions.items()
    }
    return {"pids": names.tolist(), "images": np.bincount(rows, minlength=len(names)).tolist(), **sums}


def _label_overlap(cell: AblationCell) -> dict[str, float | None] | None:
    """Return the overlap of the last training label maps with the dataset's; None if either does not exist."""
    state = read_checkpoint(cell.folder, cell.recipe)
    if state is None or state["maps"] is None or not (cell.dataset.root / REGIONS).is_dir():
        return None
    maps = region_maps(cell.dataset.root, cell.dataset.train.paths)
    return label_overlap(state["maps"].numpy(), cell.recipe.region_schema, maps)


class _TrainingClock:
    """Wall-clock and CPU seconds of a cell's training over all its processes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CLOCK
        self._before = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self.seconds = self.cpu_seconds = 0.0

    def save(self) -> None:
        """Store the seconds spent until now."""
        self.seconds = self._before.get("seconds", 0.0) + time.monotonic() - self._wall
        self.cpu_seconds = self._before.get("cpu_seconds", 0.0) + time.process_time() - self._cpu
        write_json(self._path, {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds})
