"""Stores of random crops, and what the browse index should say of them, told by loops over a scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.fake_pipeline import FINGERPRINT, MODEL, START, crop, crop_table
from tests.support.review_archive import SCHEMA
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import SightingFilter
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan

OTHER = "b" * 64
CAMERAS = ("gate", "hall", "yard")
COLUMNS = (
    *("crop_id", "source", "input", "frame", "time", "offset_s", "camera", "tracklet", "quality", "pid"),
    "attributes",
)
Row = dict[str, Any]


def random_files(seed: int, *, files: int = 4, crops: int = 40, prefix: str = "f") -> list[list[Row]]:
    """Crops of videos and of stills, some of unknown time, some of people who are known."""
    rng = np.random.default_rng(seed)
    names = [(f"{prefix}{file}", f"{prefix}{file} seed {seed}") for file in range(files)]
    return [[_random_crop(rng, file, video, number) for number in range(crops)] for file, video in names]


def _random_crop(rng: np.random.Generator, file: str, video: str, number: int) -> Row:
    tracklet = int(rng.integers(8))
    person = 1 + tracklet % 3 if tracklet % 2 else None
    shares = [rng.dirichlet(np.ones(len(attribute.values))) for attribute in SCHEMA.attributes]
    second = int(rng.integers(7200))
    return crop(
        f"{video}-{number}",
        source=f"source {number % 2}",
        input=f"{file}-{number % 3}",
        frame=int(rng.integers(4)),
        # Few moments, so that some crops share one.
        time=None if rng.random() < 0.1 else START + timedelta(seconds=second - second % 600),
        offset_s=None if tracklet == 0 else float(second % 50),
        camera=CAMERAS[tracklet % len(CAMERAS)],
        tracklet="" if tracklet == 0 else f"{video} t{tracklet}",
        quality=float(rng.integers(4)) / 4,
        pid=person,
        attributes=np.concatenate(shares).astype(np.float32),
    )


def add(
    store: Store,
    files: Sequence[list[Row]],
    *,
    model: str = MODEL,
    fingerprint: str = FINGERPRINT,
    replaces: bool = False,
) -> None:
    """Index files as one run that succeeds, every input of a file in its shard."""
    store.models.register(model, name="fake", location="nowhere", facts=ModelFacts(attributes=SCHEMA, blocks=(4,)))
    run = store.runs.create(fingerprint=fingerprint, config={}, model=model, command="index", replaces=replaces)
    inputs = [sorted({row["input"] for row in rows}) for rows in files]
    store.shards.plan(
        run.id,
        [ShardPlan("images", "archive", None, {}, tuple(InputPlan(name, name) for name in names)) for names in inputs],
    )
    for task, rows in zip(store.shards.pending(run.id, limit=len(files)), files, strict=True):
        counts = Counter(row["input"] for row in rows)
        written = store.root.write("crops", run.id, task.id, crop_table(rows))
        outcomes = [InputOutcome(place, "done", rows=counts[name]) for place, name in enumerate(task.inputs)]
        store.shards.commit(task.id, files=[written], outcomes=outcomes)
    store.runs.take_lease(run.id)
    store.runs.finish(run.id, "succeeded")


def sightings(store: Store, model: str = MODEL) -> list[Row]:
    """All sightings of a model in order, each with all its `rows` in order of time."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for batch in store.crops.scan(COLUMNS, model=model):
        for row in batch.to_pylist():
            whole = (row["source"], row["tracklet"], row["camera"], row["pid"])
            groups.setdefault(whole if row["tracklet"] else (row["crop_id"],), []).append(row)
    rows_of_sightings = [_sighting(rows) for rows in groups.values()]
    return sorted(
        rows_of_sightings, key=lambda sighting: (sighting["camera"], when(sighting["time"]), sighting["crop"])
    )


def when(time: datetime | None) -> datetime:
    """A key of unknown times before all others."""
    return datetime.min.replace(tzinfo=UTC) if time is None else time


def _sighting(rows: list[Row]) -> Row:
    def order(row: Row) -> tuple[Any, ...]:
        offset_s = row["offset_s"]
        return row["time"] is None, when(row["time"]), offset_s is None, offset_s or 0, row["crop_id"]

    rows = sorted(rows, key=order)
    means = np.mean([row["attributes"] for row in rows], axis=0, dtype=np.float64)
    attributes, sure = {}, {}
    for attribute in SCHEMA.attributes:
        part = means[SCHEMA.slice(attribute.name)]
        attributes[attribute.name] = attribute.values[int(part.argmax())]
        sure[attribute.name] = float(part.max())
    best = min(rows, key=lambda row: (-row["quality"], row["crop_id"]))
    first = {name: rows[0][name] for name in ("time", "offset_s", "camera", "tracklet", "pid")}
    return first | {"crop": best["crop_id"], "attributes": attributes, "sure": sure, "rows": rows}


def chosen(sightings: list[Row], choice: SightingFilter) -> list[Row]:
    """The sightings that a choice means."""
    conditions = SCHEMA.parse(choice.where) if choice.where else {}

    def means(sighting: Row) -> bool:
        time = sighting["time"]
        spanned = choice.since is None and choice.until is None
        inside = time is not None and (choice.since or time) <= time and (choice.until is None or time < choice.until)
        return (
            (choice.cameras is None or sighting["camera"] in choice.cameras)
            and (spanned or inside)
            and (choice.pid is None or sighting["pid"] == choice.pid)
            and all(sighting["attributes"][name] == value for name, value in conditions.items())
        )

    return [sighting for sighting in sightings if means(sighting)]


def contents(index: BrowseIndex, model: str = MODEL) -> list[Any]:
    """All that an index says of a model, numbers of sightings left out."""
    shown = index.page(model, SightingFilter(), offset=0, limit=100_000)
    plain = [{**vars(sighting), "id": None, "all": index.crops(sighting.id)} for sighting in shown]
    near = [index.neighbours(sighting.crop, model) for sighting in shown]
    return [plain, near, index.cameras(model), index.presence(model, 60).to_pylist(), index.attribute_counts(model)]


def refreshed(ref: Path) -> list[Any]:
    """The contents of an index that has just been brought up to date, in a process of its own or not."""
    with Store.open(ref) as store, BrowseIndex.open(store) as index:
        index.refresh()
        return contents(index)
