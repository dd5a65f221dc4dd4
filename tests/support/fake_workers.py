"""A worker with the joints of the real one and none of its cost: one row an input, some inputs deadly."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vestigo.store.parquet.files import DataRoot
from vestigo.store.parquet.schemas import crop_schema
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan, ShardTask
from vestigo_workers.executors.base import ShardResult

DIM = 4


@dataclass(frozen=True)
class FakeFactory:
    """Builds fake workers; a `deadly` input kills its process (Ray) or raises (in-process)."""

    data: str
    deadly: tuple[str, ...] = ()
    kill: bool = False

    def __call__(self) -> FakeWorker:
        return FakeWorker(self)


class FakeWorker:
    def __init__(self, settings: FakeFactory) -> None:
        self.settings = settings

    def process(self, task: ShardTask) -> ShardResult:
        names: list[str] = task.spec["shard"]["inputs"]
        if set(names) & set(self.settings.deadly):
            if self.settings.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a deadly input")
        outcomes = []
        rows: list[dict[str, Any]] = []
        for position, name in enumerate(names):
            if name.startswith("bad"):
                outcomes.append(InputOutcome(position=position, state="quarantined", reason="bad", detail="is bad"))
            elif name.startswith("empty"):
                outcomes.append(InputOutcome(position=position, state="empty"))
            else:
                rows.append(crop_row(name))
                outcomes.append(InputOutcome(position=position, state="done", rows=1))
        table = pa.Table.from_pylist(rows, schema=crop_schema(DIM))
        files = (DataRoot(self.settings.data).write("crops", task.run_id, task.id, table),) if rows else ()
        return ShardResult(files=files, outcomes=tuple(outcomes))


def crop_row(name: str) -> dict[str, Any]:
    seed = int.from_bytes(name.encode()[-4:], "big")
    embedding = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return {
        "crop_id": name.encode().hex().ljust(20, "0")[:20],
        "source": "fake",
        "input": name,
        "frame": -1,
        "time": None,
        "offset_s": None,
        "camera": "c1",
        "tracklet": "",
        "x": 0.0,
        "y": 0.0,
        "w": 8.0,
        "h": 16.0,
        "frame_width": 8,
        "frame_height": 16,
        "score": 1.0,
        "quality": 1.0,
        "dhash": 0,
        "pid": None,
        "image": b"jpeg",
        "visible": 0,
        "attributes": [],
        "regions": [],
        "embedding": embedding,
    }


def fake_shards(names: list[str], size: int) -> list[ShardPlan]:
    """Cut names into image shards of `size` inputs."""
    return [
        ShardPlan(
            kind="images",
            source="fake",
            after=None,
            spec={"shard": {"inputs": names[i : i + size]}},
            inputs=tuple(InputPlan(name=name, key=name) for name in names[i : i + size]),
        )
        for i in range(0, len(names), size)
    ]
