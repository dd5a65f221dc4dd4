"""Survey sources and plan shards: known inputs are skipped, stale ones are reported."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from vestigo.ingest.inputs import (
    IgnoredFile,
    ImageInput,
    Input,
    InvalidInput,
    VideoInput,
    input_from_json,
    input_to_json,
)
from vestigo.ingest.shards import AssemblyShard, ImageShard, SliceShard, plan_shards, shard_from_json, shard_to_json
from vestigo.ingest.sources.discover import discover
from vestigo.ingest.video.decode import split_video
from vestigo.store.open import Store
from vestigo.store.runs.records import InputPlan, ShardPlan
from vestigo_models.progress import ProgressCallback
from vestigo_workers.indexing.request import IndexRequest

KEYS_PER_QUERY = 500
"""Inputs whose keys one query looks up in the catalogue."""


class Spool:
    """A temporary SQLite database of one table, so that memory does not grow with the archive."""

    def __init__(self, table: str) -> None:
        # SQLite opens a private database on disk for an empty name and deletes it on close.
        self._spool = sqlite3.connect("")
        self._spool.execute(f"CREATE TABLE {table}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()


class Survey(Spool):
    """The new inputs of the sources."""

    def __init__(self) -> None:
        super().__init__("item (key TEXT PRIMARY KEY, source TEXT, json TEXT)")
        self.inputs = 0  # images, slices of videos, and problems that were discovered
        self.ignored = 0  # inputs that are files of a kind that is not read
        self.new = 0  # inputs to be planned; a name that occurs twice with the same content counts once
        self.stale: set[str] = set()  # other fingerprints under which the store holds some of the inputs

    @property
    def skipped(self) -> int:
        """Inputs that the store already holds under this fingerprint."""
        return self.inputs - self.new

    def add(self, source: str, item: Input, key: str, weight: int) -> None:
        """Add an item to be planned; `weight` is the number of inputs that it counts for."""
        row = (key, source, json.dumps(input_to_json(item)))
        self.new += weight * self._spool.execute("INSERT OR IGNORE INTO item VALUES (?, ?, ?)", row).rowcount

    def items(self) -> Iterator[tuple[str, Input]]:
        """Yield (source, item) of everything new, in order of discovery."""
        for source, text in self._spool.execute("SELECT source, json FROM item ORDER BY rowid"):
            yield source, input_from_json(json.loads(text))


def survey(store: Store, request: IndexRequest, fingerprint: str, progress: ProgressCallback) -> Survey:
    """Discover and digest everything in the sources, and look up which inputs the store already holds."""
    result = Survey()
    discovered = (
        (source, item)
        for source in request.sources
        for item in discover(
            source, camera=request.camera, name_pattern=request.name_pattern, start=request.start, zone=request.zone
        )
    )
    while chunk := list(islice(discovered, KEYS_PER_QUERY)):
        keyed = [(source, item, item_key(item)) for source, item in chunk]
        keys = list({key for _, _, key in keyed})
        unseen = store.shards.unplanned(fingerprint, keys)
        result.stale |= store.shards.other_fingerprints(fingerprint, keys)
        for source, item, key in keyed:
            weight = len(split_video(item.info, request.slice_seconds, 0.0)) if isinstance(item, VideoInput) else 1
            result.inputs += weight
            result.ignored += isinstance(item, IgnoredFile)
            if key in unseen:
                result.add(source, item, key, weight)
        progress(result.inputs, None)
    return result


def shard_plans(items: Iterable[tuple[str, Input]], request: IndexRequest) -> Iterator[ShardPlan]:
    """Divide surveyed items into shards, source by source; files that are not read come last in their source."""
    for source, group in groupby(items, key=itemgetter(0)):
        problems: list[InvalidInput | IgnoredFile] = []
        readable = _readable((item for _, item in group), problems)
        for shard in plan_shards(
            readable, shard_size=request.shard_size, slice_s=request.slice_seconds, tracking=request.tracking
        ):
            yield shard_plan(source, shard)
        for start in range(0, len(problems), request.shard_size):
            batch = problems[start : start + request.shard_size]
            spec = {"problems": [_problem(item) for item in batch]}
            inputs = tuple(InputPlan(name=problem.name, key=item_key(problem)) for problem in batch)
            yield ShardPlan(kind="images", source=source, after=None, spec=spec, inputs=inputs)


def _readable(items: Iterable[Input], problems: list[InvalidInput | IgnoredFile]) -> Iterator[ImageInput | VideoInput]:
    """Yield images and videos, and append what is between them to `problems`."""
    for item in items:
        if isinstance(item, InvalidInput | IgnoredFile):
            problems.append(item)
        else:
            yield item


def _problem(item: InvalidInput | IgnoredFile) -> dict[str, str]:
    """Return why an input is not read; a file that is passed over has only its kind as reason."""
    if isinstance(item, IgnoredFile):
        return {"reason": item.file_kind}
    return {"reason": item.reason, "detail": item.detail}


def shard_plan(source: str, shard: ImageShard | SliceShard | AssemblyShard) -> ShardPlan:
    """Return the plan of one shard for the catalogue."""
    spec = {"shard": shard_to_json(shard)}
    if isinstance(shard, ImageShard):
        inputs = tuple(InputPlan(name=item.name, key=item_key(item)) for item in shard.inputs)
        return ShardPlan(kind="images", source=source, after=None, spec=spec, inputs=inputs)
    video_key = item_key(shard.video).removesuffix(":0")
    if isinstance(shard, SliceShard):
        name = f"{shard.video.name}[{shard.first}:{shard.last}]"
        inputs = (InputPlan(name=name, key=f"{video_key}:{shard.first}"),)
        return ShardPlan(kind="slice", source=source, after=video_key, spec=spec, inputs=inputs)
    return ShardPlan(kind="assembly", source=source, after=video_key, spec=spec)


def item_key(item: Input) -> str:
    """Return the key of an input, a digest of its name and content.

    The key of a video is that of its first slice, which begins at frame 0 wherever the others begin.
    """
    if isinstance(item, InvalidInput):
        return _digest("problem", item.name, item.reason, item.detail)
    if isinstance(item, IgnoredFile):
        return _digest("passed-over", item.name, item.file_kind)
    if isinstance(item, VideoInput):
        return _digest("video", item.name, item.digest) + ":0"
    return _digest("image", item.name, item.digest)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def pick_spec(spec: dict[str, Any], positions: Sequence[int]) -> dict[str, Any]:
    """Return the spec of a shard with only its inputs at `positions`."""
    if "problems" in spec:
        return {"problems": [spec["problems"][position] for position in positions]}
    shard = spec["shard"]
    # A slice is the only input of its shard, and an assembly has none.
    if "inputs" not in shard:
        return spec
    return {"shard": {**shard, "inputs": [shard["inputs"][position] for position in positions]}}


def has_video(spec: dict[str, Any]) -> bool:
    """Tell whether a shard is a slice whose video is still in its place with the same size."""
    shard = shard_from_json(spec["shard"])
    if not isinstance(shard, SliceShard):
        return False
    path = Path(shard.video.path)
    return path.is_file() and path.stat().st_size == shard.video.info.size_bytes
