"""A pipeline of small tables that uses the store as the real one does: images, a poisonous image, a video in slices."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vestigo.store import faults
from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot
from vestigo.store.parquet.schemas import crop_schema
from vestigo.store.runs.records import InputFailure, InputOutcome, InputPlan, Run, ShardPlan, ShardTask

DIM = 4
MODEL = "a" * 64
FINGERPRINT = "f" * 64
START = datetime(2026, 5, 1, 8, tzinfo=UTC)
POISON = "poison.jpg"
BAD = ("broken.jpg", POISON)
"""Inputs that are left out."""
GAP = "walk.avi[1]"


def crop(name: str, **more: Any) -> dict[str, Any]:
    """A row of the crops table, all of it decided by `name`."""
    digest = hashlib.sha256(name.encode()).digest()
    vector = np.frombuffer(digest[: 4 * DIM], "<i4").astype(np.float32)
    row = {
        "crop_id": digest.hex()[:20],
        "source": "archive",
        "input": name,
        "frame": -1,
        "time": START + timedelta(seconds=digest[0]),
        "offset_s": None,
        "camera": f"c{1 + digest[1] % 2}",
        "tracklet": "",
        **dict(zip("xywh", (1.5, 2.0, 64.0, 128.0), strict=True)),
        "frame_width": 768,
        "frame_height": 576,
        "score": 0.5,
        "quality": digest[2] / 255,
        "dhash": int.from_bytes(digest[:8], "little", signed=True),
        "pid": None,
        "image": b"\xff\xd8" + digest,
        "visible": 0,
        "attributes": [],
        "regions": [],
        "embedding": vector / np.linalg.norm(vector),
    }
    return row | more


def crop_table(rows: Sequence[dict[str, Any]], dim: int = DIM) -> pa.Table:
    """Rows as a table, in the order given."""
    return pa.Table.from_pylist(list(rows), schema=crop_schema(dim))


def images(*names: str, source: str = "archive") -> ShardPlan:
    """A shard of still images."""
    return ShardPlan(
        "images", source, None, {"names": list(names)}, tuple(InputPlan(n, f"{source}:{n}") for n in names)
    )


def video(name: str, slices: int) -> Iterator[ShardPlan]:
    """The shards of a video: its slices and their assembly."""
    for part in range(slices):
        inputs = (InputPlan(f"{name}[{part}]", f"{name}:{part}"),)
        yield ShardPlan("slice", "archive", name, {"part": part}, inputs)
    yield ShardPlan("assembly", "archive", name, {"video": name})


def archive(slices: int = 2) -> Iterator[ShardPlan]:
    """Everything that the pipeline indexes."""
    yield images("one.jpg", "empty.jpg", "broken.jpg")
    yield images("two.jpg", POISON)
    yield from video("walk.avi", slices)


def pick(spec: dict[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """The spec of a shard for some of its inputs."""
    return spec | {"names": [spec["names"][place] for place in places]}


def begin(store: Store, *, fingerprint: str = FINGERPRINT, replaces: bool = False, model: str = MODEL) -> Run:
    """A run of its own."""
    store.models.register(model, name="fake", location="nowhere")
    return store.runs.create(
        fingerprint=fingerprint, config={"model": model, "fps": 5}, model=model, command="index", replaces=replaces
    )


def work_off(store: Store, task: ShardTask, bad: Collection[str] = BAD) -> None:
    """Do one shard and commit it; `bad` inputs kill their worker or cannot be read."""
    root = DataRoot(store.data)
    if POISON in task.inputs and POISON in bad:
        store.shards.record_death(task.id, "poisoned", pick)
    elif task.kind == "slice" and task.inputs[0] in bad:
        lost = InputOutcome(0, "quarantined", reason="unreadable", detail=f"{task.inputs[0]} cannot be read")
        store.shards.commit(task.id, files=[], outcomes=[lost])
    elif task.kind == "images":
        assert task.spec["names"] == list(task.inputs)
        rows = [crop(name) for name in task.inputs if name != "empty.jpg" and name not in bad]
        outcomes = [outcome_of(position, name, bad) for position, name in enumerate(task.inputs)]
        files = [root.write("crops", task.run_id, task.id, crop_table(rows))] if rows else []
        store.shards.commit(task.id, files=files, outcomes=outcomes)
    elif task.kind == "slice":
        rows = [crop(f"{task.inputs[0]}-{i}", input=str(task.after), frame=i, offset_s=i / 5) for i in range(3)]
        failures = [InputFailure(task.inputs[0], 7, "undecodable", "frame 7 cannot be decoded")]
        written = root.write("candidates", task.run_id, task.id, crop_table(rows))
        store.shards.commit(task.id, files=[written], outcomes=[InputOutcome(0, "done", rows=3)], failures=failures)
    else:
        paths = store.shards.file_paths(task.run_id, kind="candidates", after=task.after)
        parts = [batch for path in paths for batch in store.root.read(path)]
        best = pa.Table.from_batches(parts).slice(1, 3)
        tracklets = pa.table({"tracklet": ["t1"], "crops": [best.num_rows]})
        crops = root.write("crops", task.run_id, task.id, best)
        store.shards.commit(
            task.id, files=[crops, root.write("tracklets", task.run_id, task.id, tracklets)], outcomes=()
        )


def outcome_of(position: int, name: str, bad: Collection[str] = BAD) -> InputOutcome:
    """What becomes of an image, by its name."""
    if name == "empty.jpg":
        return InputOutcome(position, "empty")
    if name in bad:
        return InputOutcome(position, "quarantined", reason="not-an-image", detail=f"{name} is no image")
    return InputOutcome(position, "done", rows=1)


def drive(store: Store, run_id: str, bad: Collection[str] = BAD) -> Run:
    """Work off everything that is pending and end the run."""
    store.runs.take_lease(run_id)
    while tasks := store.shards.pending(run_id, limit=1):
        work_off(store, tasks[0], bad)
    return store.runs.finish(run_id, "succeeded")


def index(ref: str | Path) -> Run:
    """Index the archive, or go on where an earlier process left off."""
    with Store.open(ref) as store:
        run = store.runs.find_unfinished(FINGERPRINT) or next(iter(store.runs.list()), None) or begin(store)
        if run.status == "succeeded":
            return run
        if not run.planned:
            store.shards.plan(run.id, unplanned(store))
        return drive(store, run.id)


def unplanned(store: Store) -> Iterator[ShardPlan]:
    """What an interrupted plan left out: whole shards, whole videos."""
    known: set[str] = set()
    for shard in archive():
        if (
            shard.inputs
            and not store.shards.unplanned(FINGERPRINT, [item.key for item in shard.inputs])
            and shard.after not in known
        ):
            continue
        if shard.kind == "assembly" and shard.after not in known:
            continue
        known.update(filter(None, [shard.after]))
        yield shard


def index_and_die(ref: str | Path, count: int) -> None:
    """Index until fault point number `count`; ends with SIGKILL unless the run completes before."""
    faults.install(faults.die_at(count))
    index(ref)


def index_a_gap(ref: str | Path) -> str:
    """Index the archive with a slice that cannot be read, in the middle of its video; return the run."""
    with Store.open(ref) as store:
        run = begin(store)
        store.shards.plan(run.id, archive(slices=3))
        drive(store, run.id, [*BAD, GAP])
        return run.id


def retry(ref: str | Path) -> None:
    """Try again what was left out, all of which is well now, or go on where an earlier process left off."""
    with Store.open(ref) as store:
        (run,) = store.runs.list()
        if store.runs.totals(run.id).quarantined:
            store.runs.retry(run.id, select=pick, has_video=lambda spec: True)
        if store.runs.get(run.id).status != "succeeded":
            drive(store, run.id, bad=())


def retry_and_die(ref: str | Path, count: int) -> None:
    """Retry until fault point number `count`; ends with SIGKILL unless all is done before."""
    faults.install(faults.die_at(count))
    retry(ref)
