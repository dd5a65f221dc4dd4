"""What could be reviewed: the crops of a store put together to tasks, each with what a model says of it.

One pass over the store; memory is that of `POOL_TASKS` tasks. A larger archive is thinned by a hash of the task's key,
so that the same tasks stay whenever it is read (permanent random numbers: Ohlsson, "Coordination of samples using
permanent random numbers", 1995).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.review.sampling.strategies import Candidates
from vestigo.search.gallery import EVERYWHERE, Archive, Scope, require_attributes
from vestigo.store.parquet.descriptors import matrix
from vestigo.store.review.records import NewTask, Unit
from vestigo.store.runs.records import Model
from vestigo_models.schemas.attributes import AttributeSchema

POOL_TASKS = 20_000
Floats = NDArray[np.float32]
_FACTS = ("crop_id", "source", "tracklet", "camera", "time", "pid", "quality")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """N tasks that could be drawn; `thinned` is the share of the archive's tasks that they are."""

    tasks: list[NewTask]
    candidates: Candidates
    thinned: float


def gather(
    archive: Archive,
    model: Model,
    *,
    unit: Unit = "tracklet",
    scope: Scope = EVERYWHERE,
    believed: Mapping[str, Mapping[str, str]] | None = None,
    limit: int = POOL_TASKS,
    progress: Callable[[int], None] | None = None,
) -> Pool:
    """Put the crops of a model together to tasks, in order of their keys.

    unit: `tracklet` joins what a tracklet or, without one, a dataset's identity and camera holds together; what
    belongs to nobody, and every crop with `crop`, is a task of its own. believed: crop id to attribute to value, of
    labels from elsewhere. `progress` hears of crops read.

    Raises:
        UsageError: the model predicts no attributes.
    """
    schema = require_attributes(model)
    groups = _Groups(schema, limit)
    columns = (*_FACTS, "attributes", "embedding")
    batches = archive.scan_crops(
        columns, model=model.digest, cameras=scope.cameras, since=scope.since, until=scope.until
    )
    read = 0
    for batch in batches:
        groups.add(batch, unit)
        read += batch.num_rows
        if progress is not None:
            progress(read)
    return groups.pool(believed or {})


def task_key(unit: Unit, row: Mapping[str, Any]) -> str:
    """The key, 40 hex digits, of the task of a crop: its `source`, `tracklet`, `pid`, `camera` and `crop_id`."""
    about: tuple[str, ...]
    if unit == "tracklet" and row["tracklet"]:
        about = ("tracklet", row["source"], row["tracklet"])
    elif unit == "tracklet" and (row["pid"] or 0) > 0:
        about = ("person", row["source"], str(row["pid"]), row["camera"])
    else:
        about = ("crop", row["crop_id"])
    return hashlib.sha256("\0".join(about).encode()).hexdigest()[:40]


@dataclass
class _Group:
    """The crops of one task; `place` is its row in the sums."""

    place: int
    source: str
    tracklet: str
    camera: str
    pid: int | None
    time: datetime | None
    crops: list[tuple[float, str]] = field(default_factory=list)


class _Groups:
    """Tasks in the making: sums of what the model says of their crops."""

    def __init__(self, schema: AttributeSchema, limit: int) -> None:
        self.schema = schema
        self.limit = limit
        self.thinned = 1.0
        self.groups: dict[str, _Group] = {}
        self.sums: dict[str, Floats] = {}

    def add(self, batch: pa.RecordBatch, unit: Unit) -> None:
        """Add crops to their tasks."""
        rows = batch.select(_FACTS).to_pylist()
        keys = [task_key(unit, row) for row in rows]
        kept = [place for place, key in enumerate(keys) if _share(key) < self.thinned]
        places = np.array([self._join(keys[place], rows[place]) for place in kept], dtype=np.int64)
        probabilities = matrix(batch.column("attributes"))[kept]
        told = {
            "probabilities": probabilities,
            "votes": one_hot(self.schema, probabilities),
            "embeddings": matrix(batch.column("embedding"))[kept],
        }
        for name, values in told.items():
            sums = self.sums.get(name, np.zeros((0, values.shape[1]), np.float32))
            missing = np.zeros((max(0, len(self.groups) - len(sums)), values.shape[1]), np.float32)
            self.sums[name] = np.concatenate([sums, missing]) if len(missing) else sums
            np.add.at(self.sums[name], places, values)
        while len(self.groups) > self.limit:
            self._thin()

    def pool(self, believed: Mapping[str, Mapping[str, str]]) -> Pool:
        """The tasks as they stand."""
        order = sorted(self.groups)
        places = np.array([self.groups[key].place for key in order], dtype=np.int64)
        counts = np.array([len(self.groups[key].crops) for key in order], dtype=np.float32)[:, None]
        widths = {"probabilities": self.schema.classes, "votes": self.schema.classes, "embeddings": 1}
        means = {
            name: self.sums[name][places] / counts if order else np.zeros((0, width), np.float32)
            for name, width in widths.items()
        }
        lengths = np.linalg.norm(means["embeddings"], axis=1, keepdims=True)
        tasks = [_task(key, self.groups[key], row) for key, row in zip(order, means["probabilities"], strict=True)]
        candidates = Candidates(
            schema=self.schema,
            probabilities=means["probabilities"],
            votes=means["votes"],
            embeddings=means["embeddings"] / np.maximum(lengths, 1e-12),
            labels=_labels(self.schema, tasks, believed),
        )
        return Pool(tasks=tasks, candidates=candidates, thinned=self.thinned)

    def _join(self, key: str, row: Mapping[str, Any]) -> int:
        group = self.groups.get(key)
        if group is None:
            facts = {name: row[name] for name in ("source", "tracklet", "camera", "pid", "time")}
            group = self.groups[key] = _Group(place=len(self.groups), **facts)
        elif row["time"] is not None and (group.time is None or row["time"] < group.time):
            group.time = row["time"]
        group.crops.append((row["quality"], row["crop_id"]))
        return group.place

    def _thin(self) -> None:
        """Keep half of the tasks that there could be."""
        self.thinned /= 2
        self.groups = {key: group for key, group in self.groups.items() if _share(key) < self.thinned}
        kept = np.array([group.place for group in self.groups.values()], dtype=np.int64)
        self.sums = {name: sums[kept] for name, sums in self.sums.items()}
        for place, group in enumerate(self.groups.values()):
            group.place = place


def one_hot(schema: AttributeSchema, probabilities: NDArray[np.floating]) -> Floats:
    """(N, M) probabilities to 1 for the likeliest class of each attribute, the first of equal ones, and 0 elsewhere."""
    votes = np.zeros(probabilities.shape, np.float32)
    rows = np.arange(len(probabilities))
    for name in schema.names:
        where = schema.slice(name)
        votes[rows, where.start + probabilities[:, where].argmax(axis=1)] = 1
    return votes


def _share(key: str) -> float:
    """A number from 0 to 1 that a key has for ever."""
    return int(key[:12], 16) / 16**12


def _task(key: str, group: _Group, prediction: Floats) -> NewTask:
    best = sorted(group.crops, key=lambda crop: (-crop[0], crop[1]))
    return NewTask(
        key=key,
        source=group.source,
        tracklet=group.tracklet,
        camera=group.camera,
        time=group.time,
        pid=group.pid,
        crops=tuple(crop for _, crop in best),
        prediction=tuple(round(float(p), 6) for p in prediction),
    )


def _labels(
    schema: AttributeSchema, tasks: list[NewTask], believed: Mapping[str, Mapping[str, str]]
) -> NDArray[np.int64]:
    """(N, n) int64: what is believed of each task's crops, -1 where nothing is."""
    labels = np.full((len(tasks), len(schema)), -1, dtype=np.int64)
    for row, task in enumerate(tasks):
        for crop in task.crops:
            for name, value in believed.get(crop, {}).items():
                labels[row, schema.index(name)] = schema[name].values.index(value)
    return labels
