"""From the crops of a run to shards of tracklets: an input is the crops that are clustered together."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vestigo.store.open import Store
from vestigo.store.runs.records import InputPlan, ShardPlan
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.region_finder import MOST_IMAGES
from vestigo_models.parsing.label_maps import LABEL_SETS
from vestigo_workers.executors.pool import ExecutorName
from vestigo_workers.indexing.plan import LOOKUP
from vestigo_workers.indexing.request import absolute


@dataclass(frozen=True, kw_only=True)
class CropGroup:
    """Crops of one person: a tracklet, the stills of one identity of a dataset, or a still of somebody unknown.

    Attributes:
        name: what people call it.
        crops: crop ids, in their order.
        files: the files of the store that hold them.
    """

    name: str
    crops: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """What makes it the same input again: ids of crops are digests of what they show."""
        return hashlib.sha256("\0".join(("regions", *self.crops)).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` reads."""
        return {"name": self.name, "crops": list(self.crops), "files": list(self.files)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CropGroup:
        """Return the group of a JSON object that `to_json` made."""
        return cls(name=data["name"], crops=tuple(data["crops"]), files=tuple(data["files"]))


class RunCrops:
    """The crops of a run by whom they show, spooled to a temporary database: memory does not grow with the archive."""

    def __init__(self, store: Store, run_id: str) -> None:
        # An empty name is SQLite's private database on disk, gone when closed.
        self._spool = sqlite3.connect("")
        self._spool.execute("CREATE TABLE crop (person TEXT, name TEXT, crop TEXT, file TEXT)")
        for path, batch in store.run_crops(run_id, ("crop_id", "tracklet", "pid", "input")):
            rows = ((*_whom(row), row["crop_id"], path) for row in batch.to_pylist())
            self._spool.executemany("INSERT INTO crop VALUES (?, ?, ?, ?)", rows)

    def __len__(self) -> int:
        return int(self._spool.execute("SELECT count(*) FROM crop").fetchone()[0])

    def groups(self) -> Iterator[CropGroup]:
        """Yield everybody in the order in which the files show them first, `MOST_IMAGES` crops at a time."""
        query = (
            "SELECT person, name, crop, file FROM crop JOIN "
            "(SELECT person, min(rowid) AS first FROM crop GROUP BY person) USING (person) ORDER BY first, crop"
        )
        for _, rows in groupby(self._spool.execute(query), key=itemgetter(0)):
            while some := list(islice(rows, MOST_IMAGES)):
                _, names, crops, files = zip(*some, strict=True)
                yield CropGroup(name=names[0], crops=crops, files=tuple(dict.fromkeys(files)))

    def __enter__(self) -> RunCrops:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._spool.close()


def _whom(row: dict[str, Any]) -> tuple[str, str]:
    """A key of whom a crop shows, and the name for people; 0 and below are nobody's identity."""
    if row["tracklet"]:
        return f"tracklet {row['tracklet']}", f"tracklet {row['tracklet']}"
    if row["pid"] is not None and row["pid"] > 0:
        return f"pid {row['pid']}", f"identity {row['pid']}"
    return f"crop {row['crop_id']}", row["input"]


class Planned:
    """Counts the inputs of a run, and those of them that the store does not know under this fingerprint yet."""

    def __init__(self) -> None:
        self.inputs = self.new = 0

    @property
    def skipped(self) -> int:
        """Inputs that the store already knows."""
        return self.inputs - self.new

    def unknown(self, store: Store, fingerprint: str, groups: Iterable[CropGroup]) -> Iterator[CropGroup]:
        """Yield the groups that are not planned yet."""
        pending = iter(groups)
        while chunk := list(islice(pending, LOOKUP)):
            unseen = store.unseen(fingerprint, [group.key for group in chunk])
            self.inputs += len(chunk)
            for group in chunk:
                if group.key in unseen:
                    self.new += 1
                    yield group


def region_shards(groups: Iterable[CropGroup], run_id: str, shard_size: int) -> Iterator[ShardPlan]:
    """Cut groups into shards of at most `shard_size` crops; a group is never cut. Memory is one shard."""
    held: list[CropGroup] = []
    for group in groups:
        if held and sum(len(one.crops) for one in held) + len(group.crops) > shard_size:
            yield _shard(held, run_id)
            held = []
        held.append(group)
    if held:
        yield _shard(held, run_id)


def _shard(groups: list[CropGroup], run_id: str) -> ShardPlan:
    return ShardPlan(
        kind="regions",
        source=f"run {run_id}",
        after=None,
        spec={"shard": {"kind": "regions", "inputs": [group.to_json() for group in groups]}},
        inputs=tuple(InputPlan(name=group.name, key=group.key) for group in groups),
    )


REGIONS_SCHEMA_VERSION = 1


class RegionsRequest(BaseModel):
    """Everything `vestigo regions --store` can be told that a later `vestigo runs resume` has to know.

    Attributes:
        run: the run whose crops are labelled.
        parser: as `make_parser` takes it; folders and files with their whole path.
        label_map: regions of the classes that the parser does not name.
        model: whose features FLS clusters: `default`, a package folder or `hub:ID`; None for the parser alone.
        fls: keys of FLS.
        executor: `inline`, `ray`, or `auto` (Ray where several shards can run side by side).
        actors: Ray actors; by default one a GPU share or one a CPU.
        gpus_per_actor: share of a GPU an actor is pinned to.
        device: where the networks run: `auto`, `cpu`, `cuda`.
        shard_size: crops a shard, at most; a tracklet is never cut.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    parser: str = "default"
    label_map: dict[str, str] | None = None
    model: str | None = None
    fls: FlsConfig = FlsConfig()
    executor: ExecutorName = "auto"
    actors: int | None = Field(default=None, ge=1)
    gpus_per_actor: float | None = Field(default=None, ge=0)
    device: str = "auto"
    shard_size: int = Field(default=256, ge=1)

    @field_validator("parser")
    @classmethod
    def _parser_from_anywhere(cls, parser: str) -> str:
        """A run is resumed from another folder than it was begun in."""
        kind, colon, rest = parser.partition(":")
        place, _, labels = rest.rpartition(":")
        if kind == "schp" and place and labels in LABEL_SETS:
            return f"{kind}:{_whole(place)}:{labels}"
        return f"{kind}{colon}{_whole(rest)}" if rest else parser

    @field_validator("model")
    @classmethod
    def _model_from_anywhere(cls, model: str | None) -> str | None:
        return None if model is None else absolute(model)


def _whole(place: str) -> str:
    return str(Path(place).resolve()) if Path(place).exists() else place
