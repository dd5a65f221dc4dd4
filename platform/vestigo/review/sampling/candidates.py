"""Tasks that can be sampled: the crops of a store grouped into tracklets, with the predictions of one model.

One pass over the store; memory is that of `MAX_TASKS` tasks. A larger archive is thinned by a hash of the task key, so
that the same tasks remain whenever it is read (permanent random numbers: Ohlsson, "Coordination of samples using
permanent random numbers", 1995).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vestigo.resolve import require_attributes
from vestigo.retrieval.gallery import EVERYWHERE, Scope, SearchableStore
from vestigo.review.sampling.scores import TaskFeatures
from vestigo.store.models.records import Model
from vestigo.store.parquet.descriptors import matrix
from vestigo.store.review.records import NewTask, Unit
from vestigo_models.arrays import Float32Array, FloatArray, Int64Array
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema

MAX_TASKS = 20_000
_COLUMNS = ("crop_id", "source", "tracklet", "camera", "time", "pid", "quality")


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateTasks:
    """N tasks that can be sampled, in order of their keys; `thinned` is their share of the archive's tasks."""

    tasks: list[NewTask]
    features: TaskFeatures
    thinned: float


def collect_tasks(
    archive: SearchableStore,
    model: Model,
    *,
    unit: Unit = "tracklet",
    scope: Scope = EVERYWHERE,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    max_tasks: int = MAX_TASKS,
    progress: ProgressCallback = ignore_progress,
) -> CandidateTasks:
    """Group the crops of a model that predicts attributes into at most `max_tasks` tasks.

    The unit `tracklet` groups by tracklet or, without one, by identity and camera of a dataset. Other crops, and all
    crops with `crop`, are single tasks. `labels` are known labels: crop id to attribute to value. Progress is in crops.
    """
    schema = require_attributes(model)
    groups = _Groups(schema, max_tasks)
    batches = archive.crops.scan(
        (*_COLUMNS, "attributes", "embedding"),
        model=model.digest,
        cameras=scope.cameras,
        since=scope.since,
        until=scope.until,
    )
    read = 0
    for batch in batches:
        groups.add(batch, unit)
        read += batch.num_rows
        progress(read, None)
    return groups.to_candidates(labels or {})


def task_key(unit: Unit, row: Mapping[str, Any]) -> str:
    """Return the task key (40 hex digits) of a crop with `source`, `tracklet`, `pid`, `camera` and `crop_id`."""
    parts: tuple[str, ...]
    if unit == "tracklet" and row["tracklet"]:
        parts = ("tracklet", row["source"], row["tracklet"])
    elif unit == "tracklet" and (row["pid"] or 0) > 0:
        parts = ("person", row["source"], str(row["pid"]), row["camera"])
    else:
        parts = ("crop", row["crop_id"])
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


@dataclass
class _Group:
    """The crops of one task."""

    place: int  # its row in the sums
    facts: dict[str, Any]  # fields of its `NewTask`
    crops: list[tuple[float, str]] = field(default_factory=list)  # (-quality, id)


class _Groups:
    """Groups of crops with sums of their predictions and embeddings."""

    def __init__(self, schema: AttributeSchema, max_tasks: int) -> None:
        self.schema = schema
        self.max_tasks = max_tasks
        self.thinned = 1.0
        self.groups: dict[str, _Group] = {}
        self.sums: dict[str, Float32Array] = {}

    def add(self, batch: pa.RecordBatch, unit: Unit) -> None:
        rows = batch.select(_COLUMNS).to_pylist()
        keys = [task_key(unit, row) for row in rows]
        kept = [row for row, key in enumerate(keys) if _hash_fraction(key) < self.thinned]
        places = np.array([self._add_crop(keys[row], rows[row]) for row in kept], dtype=np.int64)
        probabilities = matrix(batch.column("attributes"))[kept]
        features = {
            "probabilities": probabilities,
            "votes": one_hot(self.schema, probabilities),
            "embeddings": matrix(batch.column("embedding"))[kept],
        }
        for name, values in features.items():
            sums = self.sums.get(name, np.zeros((0, values.shape[1]), np.float32))
            if missing := len(self.groups) - len(sums):
                sums = np.concatenate([sums, np.zeros((missing, values.shape[1]), np.float32)])
            np.add.at(sums, places, values)
            self.sums[name] = sums
        while len(self.groups) > self.max_tasks:
            self._thin()

    def to_candidates(self, labels: Mapping[str, Mapping[str, str]]) -> CandidateTasks:
        """Return the tasks with means over their crops."""
        order = sorted(self.groups)
        places = np.array([self.groups[key].place for key in order], dtype=np.int64)
        counts = np.array([len(self.groups[key].crops) for key in order], dtype=np.float32)[:, None]
        widths = {"probabilities": self.schema.classes, "votes": self.schema.classes, "embeddings": 1}
        means = {
            name: self.sums[name][places] / counts if order else np.zeros((0, width), np.float32)
            for name, width in widths.items()
        }
        lengths = np.linalg.norm(means["embeddings"], axis=1, keepdims=True)
        tasks = [
            NewTask(
                key=key,
                crops=tuple(crop for _, crop in sorted(self.groups[key].crops)),
                prediction=tuple(round(float(p), 6) for p in prediction),
                **self.groups[key].facts,
            )
            for key, prediction in zip(order, means["probabilities"], strict=True)
        ]
        features = TaskFeatures(
            schema=self.schema,
            probabilities=means["probabilities"],
            votes=means["votes"],
            embeddings=means["embeddings"] / np.maximum(lengths, 1e-12),
            labels=_label_indices(self.schema, tasks, labels),
        )
        return CandidateTasks(tasks=tasks, features=features, thinned=self.thinned)

    def _add_crop(self, key: str, row: Mapping[str, Any]) -> int:
        if key not in self.groups:
            facts = {name: row[name] for name in ("source", "tracklet", "camera", "pid", "time")}
            self.groups[key] = _Group(len(self.groups), facts)
        group = self.groups[key]
        if row["time"] is not None:
            group.facts["time"] = min(row["time"], group.facts["time"] or row["time"])
        group.crops.append((-row["quality"], row["crop_id"]))
        return group.place

    def _thin(self) -> None:
        """Keep half of all possible tasks."""
        self.thinned /= 2
        self.groups = {key: group for key, group in self.groups.items() if _hash_fraction(key) < self.thinned}
        kept = np.array([group.place for group in self.groups.values()], dtype=np.int64)
        self.sums = {name: sums[kept] for name, sums in self.sums.items()}
        for place, group in enumerate(self.groups.values()):
            group.place = place


def one_hot(schema: AttributeSchema, probabilities: FloatArray) -> Float32Array:
    """Return (N, M) with 1 for the most likely class of each attribute (the first of equal ones) and 0 elsewhere."""
    votes = np.zeros(probabilities.shape, np.float32)
    rows = np.arange(len(probabilities))
    for name in schema.names:
        columns = schema.slice(name)
        votes[rows, columns.start + probabilities[:, columns].argmax(axis=1)] = 1
    return votes


def _hash_fraction(key: str) -> float:
    """Map a key to a fixed number in 0..1."""
    return int(key[:12], 16) / 16**12


def _label_indices(
    schema: AttributeSchema, tasks: list[NewTask], labels: Mapping[str, Mapping[str, str]]
) -> Int64Array:
    """Return (N, n) int64 classes of each task's known labels, -1 where there is none."""
    indices = np.full((len(tasks), len(schema)), -1, dtype=np.int64)
    for row, task in enumerate(tasks):
        for crop in task.crops:
            for name, value in labels.get(crop, {}).items():
                indices[row, schema.index(name)] = schema[name].values.index(value)
    return indices
