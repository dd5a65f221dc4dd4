"""From sources to shards in the catalogue: discover once, leave out what is known, refuse or replace what is stale."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from vestigo.ingest.inputs import Ignored, ImageInput, Item, Problem, VideoInput, item_from_json, item_to_json
from vestigo.ingest.shards import AssemblyShard, ImageShard, SliceShard, plan_shards, shard_from_json
from vestigo.ingest.sources.discover import discover
from vestigo.ingest.video.decode import slices
from vestigo.store.open import Store
from vestigo.store.runs.records import InputPlan, ShardPlan
from vestigo_models.tracking.config import TrackingConfig
from vestigo_workers.indexing.request import IndexRequest

LOOKUP = 500
"""Inputs whose keys are looked up in the catalogue by one query."""


class Survey:
    """What the sources hold, spooled to a temporary database so that memory does not grow with the archive.

    Attributes:
        inputs: images, slices of videos, and problems found.
        ignored: files of no known kind.
        new: inputs to be planned; a name met twice with the same content counts once.
        stale: other fingerprints under which some input is in the store.
    """

    def __init__(self) -> None:
        # An empty name is SQLite's private database on disk, gone when closed.
        self._spool = sqlite3.connect("")
        self._spool.execute("CREATE TABLE item (key TEXT PRIMARY KEY, source TEXT, json TEXT)")
        self.inputs = self.ignored = self.new = 0
        self.stale: set[str] = set()

    @property
    def skipped(self) -> int:
        """Inputs that the store already knows under this fingerprint."""
        return self.inputs - self.new

    def add(self, source: str, item: Item, key: str, weight: int) -> None:
        """Keep an item to be planned; `weight` is how many inputs it is."""
        row = (key, source, json.dumps(item_to_json(item)))
        self.new += weight * self._spool.execute("INSERT OR IGNORE INTO item VALUES (?, ?, ?)", row).rowcount

    def items(self) -> Iterator[tuple[str, Item]]:
        """Yield (source, item) of everything new, in order of discovery."""
        for source, text in self._spool.execute("SELECT source, json FROM item ORDER BY rowid"):
            yield source, item_from_json(json.loads(text))

    def __enter__(self) -> Survey:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._spool.close()


def survey(store: Store, request: IndexRequest, fingerprint: str, report: Callable[[int, int | None], None]) -> Survey:
    """Discover and hash everything that the sources hold, and look up what the store already knows of it."""
    found = Survey()
    everything = (
        (source, item)
        for source in request.sources
        for item in discover(source, camera=request.camera, start=request.start)
    )
    while chunk := list(islice(everything, LOOKUP)):
        keyed = [(source, item, item_key(item)) for source, item in chunk if not isinstance(item, Ignored)]
        found.ignored += len(chunk) - len(keyed)
        keys = list({key for _, _, key in keyed})
        unseen = store.unseen(fingerprint, keys)
        found.stale |= store.stale_sources(fingerprint, keys)
        for source, item, key in keyed:
            weight = len(slices(item.info, request.slice_seconds, 0.0)) if isinstance(item, VideoInput) else 1
            found.inputs += weight
            if key in unseen:
                found.add(source, item, key, weight)
        report(found.inputs, None)
    return found


def plans(items: Iterable[tuple[str, Item]], request: IndexRequest, tracking: TrackingConfig) -> Iterator[ShardPlan]:
    """Cut surveyed items into shards, one source after the other; what could not be read comes first of its source."""
    for source, group in groupby(items, key=lambda pair: pair[0]):
        readable = _Readable(item for _, item in group)
        for shard in plan_shards(
            readable, shard_size=request.shard_size, slice_s=request.slice_seconds, tracking=tracking
        ):
            yield shard_plan(source, shard)
        for start in range(0, len(readable.problems), request.shard_size):
            yield problem_plan(source, readable.problems[start : start + request.shard_size])


class _Readable:
    """Iterates over images and videos and keeps the problems that lie between them."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.problems: list[Problem] = []

    def __iter__(self) -> Iterator[ImageInput | VideoInput]:
        for item in self._items:
            if isinstance(item, Problem):
                self.problems.append(item)
            elif not isinstance(item, Ignored):
                yield item


def shard_plan(source: str, shard: ImageShard | SliceShard | AssemblyShard) -> ShardPlan:
    """Return the catalogue's plan of one shard."""
    spec = {"shard": shard.to_json()}
    if isinstance(shard, ImageShard):
        inputs = tuple(InputPlan(name=item.name, key=item_key(item)) for item in shard.inputs)
        return ShardPlan(kind="images", source=source, after=None, spec=spec, inputs=inputs)
    video_key = item_key(shard.video).removesuffix(":0")
    if isinstance(shard, SliceShard):
        name = f"{shard.video.name}[{shard.first}:{shard.last}]"
        inputs = (InputPlan(name=name, key=f"{video_key}:{shard.first}"),)
        return ShardPlan(kind="slice", source=source, after=video_key, spec=spec, inputs=inputs)
    return ShardPlan(kind="assembly", source=source, after=video_key, spec=spec)


def problem_plan(source: str, problems: list[Problem]) -> ShardPlan:
    """Return a plan whose inputs are known to be unreadable; working it off writes that down."""
    return ShardPlan(
        kind="images",
        source=source,
        after=None,
        spec={"problems": [{"reason": problem.reason, "detail": problem.detail} for problem in problems]},
        inputs=tuple(InputPlan(name=problem.name, key=item_key(problem)) for problem in problems),
    )


def item_key(item: ImageInput | VideoInput | Problem) -> str:
    """Return what makes an input the same input again: its name and content.

    A video is known by its first slice, which begins at frame 0 however the rest is cut.
    """
    if isinstance(item, Problem):
        return _digest("problem", item.name, item.reason, item.detail)
    if isinstance(item, VideoInput):
        return _digest("video", item.name, item.digest) + ":0"
    return _digest("image", item.name, item.digest)


def pick_spec(spec: dict[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """Return the spec of a shard for only those of its inputs that are at some positions."""
    if "problems" in spec:
        return {"problems": [spec["problems"][place] for place in places]}
    shard = spec["shard"]
    # A slice is the only input of its shard, and an assembly has none.
    return {"shard": {**shard, "inputs": [shard["inputs"][place] for place in places]}} if "inputs" in shard else spec


def video_is_there(spec: dict[str, Any]) -> bool:
    """Say whether the video of a slice lies where it was planned, with the size that it had."""
    shard = shard_from_json(spec["shard"])
    if not isinstance(shard, SliceShard):
        return False
    path = Path(shard.video.path)
    return path.is_file() and path.stat().st_size == shard.video.info.size_bytes


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
