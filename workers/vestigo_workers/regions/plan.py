"""The request of a regions run, and its plan: an input is a group of crops that are clustered together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Annotated, Any

from pydantic import AfterValidator

from vestigo.store.open import Store
from vestigo.store.runs.records import InputPlan, ShardPlan
from vestigo_models.fls.config import FlsConfig
from vestigo_models.inference.region_finder import MOST_IMAGES
from vestigo_models.parsing.registry import PARSERS
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.indexing.plan import KEYS_PER_QUERY, Spool
from vestigo_workers.indexing.request import ModelReference

REGIONS_SCHEMA_VERSION = 1


class FinderSettings(ExecutorSettings):
    """Settings of a `RegionFinder` and its executor; can be pickled.

    Attributes:
        parser: as `make_parser` takes it, with absolute paths.
        label_map: regions of the classes that the parser does not name.
        model: model whose features FLS clusters: `default`, a package folder or `hub:ID`; None for the parser alone.
        fls: keys of FLS.
    """

    parser: Annotated[str, AfterValidator(PARSERS.absolute)] = "default"
    label_map: dict[str, str] | None = None
    model: ModelReference | None = None
    fls: FlsConfig = FlsConfig()


class RegionsRequest(FinderSettings):
    """All settings of `vestigo regions --store` that `vestigo runs resume` needs.

    Attributes:
        run: the run whose crops are labelled.
    """

    run: str


@dataclass(frozen=True, kw_only=True)
class CropGroup:
    """Crops of one person: a tracklet, the stills of one dataset identity, or a still of unknown identity."""

    name: str  # shown to users
    crops: tuple[str, ...]  # crop ids, in order
    files: tuple[str, ...]  # files of the store that hold them

    @property
    def key(self) -> str:
        """Digest that identifies the input; crop ids are digests of content."""
        return hashlib.sha256("\0".join(("regions", *self.crops)).encode()).hexdigest()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CropGroup:
        """Return the group of a JSON object, the fields of another."""
        return cls(name=data["name"], crops=tuple(data["crops"]), files=tuple(data["files"]))


class RunCrops(Spool):
    """The crops of a run by identity; `skipped` counts the groups that `new_groups` skipped."""

    def __init__(self, store: Store, run_id: str) -> None:
        super().__init__("crop (identity TEXT, name TEXT, crop TEXT, file TEXT)")
        self.skipped = 0
        for path, batch in store.crops.scan_run(run_id, ("crop_id", "tracklet", "pid", "input")):
            rows = ((*_identity(row), row["crop_id"], path) for row in batch.to_pylist())
            self._spool.executemany("INSERT INTO crop VALUES (?, ?, ?, ?)", rows)

    def __len__(self) -> int:
        return int(self._spool.execute("SELECT count(*) FROM crop").fetchone()[0])

    def groups(self) -> Iterator[CropGroup]:
        """Yield groups of at most `MOST_IMAGES` crops, in the order in which identities first occur in the files."""
        query = (
            "SELECT identity, name, crop, file FROM crop JOIN "
            "(SELECT identity, min(rowid) AS first FROM crop GROUP BY identity) USING (identity) ORDER BY first, crop"
        )
        for _, rows in groupby(self._spool.execute(query), key=itemgetter(0)):
            while batch := list(islice(rows, MOST_IMAGES)):
                _, names, crops, files = zip(*batch, strict=True)
                yield CropGroup(name=names[0], crops=crops, files=tuple(dict.fromkeys(files)))

    def new_groups(self, store: Store, fingerprint: str) -> Iterator[CropGroup]:
        """Yield the groups that have no label maps under a fingerprint, and count the others."""
        pending = self.groups()
        while chunk := list(islice(pending, KEYS_PER_QUERY)):
            unseen = store.shards.unplanned(fingerprint, [group.key for group in chunk])
            new = [group for group in chunk if group.key in unseen]
            self.skipped += len(chunk) - len(new)
            yield from new


def _identity(row: dict[str, Any]) -> tuple[str, str]:
    """Return a key of the identity that a crop shows, and its name for users; pids up to 0 are not identities."""
    if row["tracklet"]:
        return f"tracklet {row['tracklet']}", f"tracklet {row['tracklet']}"
    if row["pid"] is not None and row["pid"] > 0:
        return f"pid {row['pid']}", f"identity {row['pid']}"
    return f"crop {row['crop_id']}", row["input"]


def region_shards(groups: Iterable[CropGroup], run_id: str, shard_size: int) -> Iterator[ShardPlan]:
    """Divide groups into shards of at most `shard_size` crops; a group is never cut. Memory is one shard."""
    shard: list[CropGroup] = []
    for group in groups:
        if shard and sum(len(other.crops) for other in shard) + len(group.crops) > shard_size:
            yield _shard_plan(shard, run_id)
            shard = []
        shard.append(group)
    if shard:
        yield _shard_plan(shard, run_id)


def _shard_plan(groups: list[CropGroup], run_id: str) -> ShardPlan:
    return ShardPlan(
        kind="regions",
        source=f"run {run_id}",
        after=None,
        spec={"shard": {"kind": "regions", "inputs": [asdict(group) for group in groups]}},
        inputs=tuple(InputPlan(name=group.name, key=group.key) for group in groups),
    )
