"""An archive that is a list of rows: what retrieval reads of a store, without one."""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from vestigo.store.crops.visible import CropFilter, VisibleFile
from vestigo.store.models.records import Model, ModelFacts
from vestigo_models.errors import StoreError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
NEWER, OLDER = "b" * 64, "a" * 64


@dataclass(frozen=True)
class FakeModels:
    """The reading methods of `ModelRepository`."""

    archive: FakeArchive

    def list(self) -> list[Model]:
        known = [
            Model(digest, name, "", START, self.archive.facts) for digest, name in ((NEWER, "newer"), (OLDER, "older"))
        ]
        return [model for model in known if any(row["model"] == model.digest for row in self.archive.rows)]

    def with_crops(self) -> list[Model]:
        return sorted(self.list(), key=lambda model: model.digest != self.serving())

    def find(self, ref: str) -> Model | None:
        return next((model for model in self.list() if ref in (model.name, model.digest)), None)

    def serving(self) -> str | None:
        return self.archive.promoted

    def crop_counts(self) -> dict[str, int]:
        return dict(Counter(row["model"] for row in self.archive.rows))


@dataclass(frozen=True)
class FakeCrops:
    """The reading methods of `CropRepository`."""

    archive: FakeArchive

    def get(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        newest_first = sorted(self.archive.rows, key=lambda row: row["model"])
        by_id = {row["crop_id"]: row for row in newest_first if model in (None, row["model"])}
        if missing := set(ids) - set(by_id):
            raise StoreError(f"crop {missing.pop()} is not in the store")
        return [by_id[crop] for crop in ids]

    def scan(
        self,
        columns: Sequence[str],
        *,
        model: str | None = None,
        cameras: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch_rows: int = 16384,
    ) -> Iterator[pa.RecordBatch]:
        self.archive.read.append(tuple(columns))
        rows = [
            row
            for row in self.archive.rows
            if row["model"] == model
            and (cameras is None or row["camera"] in cameras)
            and (since is None or row["time"] >= since)
            and (until is None or row["time"] < until)
        ]
        for start in range(0, len(rows), self.archive.batch_rows):
            yield _columns(rows[start : start + self.archive.batch_rows], columns)

    def files(self) -> list[VisibleFile]:
        """A file of a few rows after the other, which never changes."""
        rows = self.archive.rows
        size = self.archive.batch_rows
        files = []
        for model in sorted({row["model"] for row in rows}):
            count = sum(row["model"] == model for row in rows)
            for first in range(0, count, size):
                path = f"{model[:2]}-{first}-{self.archive.token}"
                number = len(files) + 1
                files.append(VisibleFile(number, path, min(size, count - first), "run", model, frozenset()))
        return files

    def read_file(
        self, file: VisibleFile, columns: Sequence[str], first: int = 0, count: int | None = None
    ) -> pa.Table:
        self.archive.read.append(tuple(columns))
        begin = int(file.path.split("-")[1]) + first
        rows = [row for row in self.archive.rows if row["model"] == file.model][begin : begin + (count or file.rows)]
        return pa.Table.from_batches([_columns(rows, columns)])

    def get_at(self, positions: Mapping[int, Sequence[int]], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        files = {file.id: file for file in self.files()}
        rows = {}
        for number, places in positions.items():
            of_model = [row for row in self.archive.rows if row["model"] == files[number].model]
            first = int(files[number].path.split("-")[1])
            rows.update((of_model[first + place]["crop_id"], of_model[first + place]) for place in places)
        return rows

    def resolve(self, crop_filter: CropFilter) -> CropFilter:
        return crop_filter

    def clock_offsets(self) -> dict[str, timedelta]:
        return {}

    def state(self) -> str:
        return self.archive.token

    def snapshot(self) -> str:
        return "now"


def _columns(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pa.RecordBatch:
    types = {"attributes": pa.list_(pa.float32()), "visible": pa.int32(), "pid": pa.int32()}
    types["time"] = pa.timestamp("us", tz="UTC")
    types["embedding"] = pa.list_(pa.float32(), len(rows[0]["embedding"]))
    return pa.RecordBatch.from_pydict(
        {name: pa.array([row[name] for row in rows], types.get(name)) for name in columns}
    )


@dataclass(frozen=True)
class FakeRankings:
    """Keeps rankings in the archive's `kept`, `asked` and `settings`."""

    archive: FakeArchive

    def save(self, name: str, *, model: str, rows: Any, queries: Any, settings: Any) -> int:
        kept = [row for batch in rows for row in batch.to_pylist()]
        self.archive.asked[name] = [row for batch in queries for row in batch.to_pylist()]
        self.archive.kept[name] = (model, len(self.archive.asked[name]), kept)
        self.archive.settings[name] = settings
        return len(kept)


@dataclass
class FakeArchive:
    """A store over a list of rows without files; `promoted` is the digest of the serving model."""

    rows: list[dict[str, Any]]
    batch_rows: int = 7
    facts: ModelFacts = field(default_factory=ModelFacts)
    kept: dict[str, tuple[str, int, list[dict[str, Any]]]] = field(default_factory=dict)
    asked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    read: list[tuple[str, ...]] = field(default_factory=list)
    promoted: str | None = None
    ref: str = field(default_factory=tempfile.mkdtemp)
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def crops(self) -> FakeCrops:
        return FakeCrops(self)

    @property
    def models(self) -> FakeModels:
        return FakeModels(self)

    @property
    def rankings(self) -> FakeRankings:
        return FakeRankings(self)


def crop(number: int, embedding: np.ndarray, *, model: str = NEWER, tracklet: str = "", dhash: int = 0) -> dict:
    return {
        "crop_id": f"{number:020x}",
        "embedding": (embedding / np.linalg.norm(embedding)).astype(np.float32),
        "visible": 0,
        "attributes": [],
        "model": model,
        "camera": f"cam{number % 3}",
        "time": START + timedelta(seconds=number),
        "offset_s": float(number),
        "tracklet": tracklet,
        "dhash": dhash,
        "pid": None,
        "source": "s",
        "input": f"{number}.jpg",
        "frame": -1,
    }


def people(count: int = 40, identities: int = 5, **more: Any) -> FakeArchive:
    """Crop i shows person i % identities."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(identities, 16))
    rows = [crop(i, centres[i % identities] + 0.2 * rng.normal(size=16), **more) for i in range(count)]
    return FakeArchive(rows)


def view_of(row: dict[str, Any]) -> CropFeatures:
    """A new image that looks exactly like a crop."""
    descriptors = Descriptors(vectors=row["embedding"][None], visible=np.empty((1, 0), bool), always=1)
    empty = np.empty((1, 0), np.float32)
    return CropFeatures(descriptors=descriptors, probabilities=empty, areas=empty)


def number(crop_id: str) -> int:
    return int(crop_id, 16)


def recorder(steps: list[tuple[str, int]]) -> OpenProgress:
    """Return a progress callback that appends (stage, done)."""
    return lambda stage: lambda done, total: steps.append((stage, done))
