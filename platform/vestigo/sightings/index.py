"""The browse index of a store: cameras, sightings and positions of crops."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from sqlite3 import Connection
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from vestigo.resolve import require_attributes
from vestigo.sightings.database import open_index
from vestigo.sightings.grouping import ID_BYTES
from vestigo.sightings.presence import camera_presence, confidence_histograms, summarize_cameras
from vestigo.sightings.records import ALL_SIGHTINGS, CameraSummary, Sighting, SightingFilter
from vestigo.sightings.refresh import outdated_files, refresh_index
from vestigo.sightings.selection import CameraSlice, IndexQuery, correct_time
from vestigo.store.crops.reader import in_order
from vestigo.store.crops.repository import CropRepository
from vestigo.store.index_file import IndexFile
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import CROP_COLUMNS
from vestigo.store.sql.database import chunks
from vestigo_models.arrays import Int64Array
from vestigo_models.errors import StoreError
from vestigo_models.progress import ProgressCallback, ignore_progress

READ_ROWS = 1 << 16
_COLUMNS = (
    "s.id, s.crop, camera.name, s.time, s.offset_s, s.tracklet, s.pid, s.crops, s.classes, s.confidence "
    "FROM sighting AS s JOIN camera ON camera.id = s.camera"
)


class BrowseIndex(AbstractContextManager["BrowseIndex"]):
    """Answers queries from the files that were visible at the last `refresh`; safe for threads and processes.

    Models are named by digest. Times are corrected by the current clock offsets. Methods raise:

    - StoreError for a model or a camera that the store does not know;
    - UsageError for attribute conditions on a model without attributes and for times without a zone;
    - ConfigError for conditions that the model's schema does not know.
    """

    def __init__(self, store: Store, file: IndexFile) -> None:
        self._store = store
        self._file = file

    @classmethod
    def open(cls, store: Store) -> BrowseIndex:
        """Open the index of a store, empty if there is none yet; the caller closes the store."""
        return cls(store, open_index(store.ref))

    def refresh(self, progress: ProgressCallback = ignore_progress) -> bool:
        """Bring the index up to date, with progress in files; return whether anything changed.

        Raises:
            StoreError: If a file of the store cannot be read; files read before it stay indexed.
        """
        return refresh_index(self._store, self._file, progress)

    def pending(self) -> int:
        """Return the number of crops in files that are not indexed yet, from the catalogue alone."""
        visible = self._store.crops.files()
        with self._file.read() as connection:
            return sum(file.rows for file in outdated_files(connection, visible))

    def close(self) -> None:
        """Close the connections."""
        self._file.close()

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def snapshot(self) -> str:
        """The digest of the visible crops and clock offsets; see `CropRepository.snapshot`."""
        return self._store.crops.snapshot()

    def cameras(self, model: str) -> list[CameraSummary]:
        """Return the cameras that have crops of a model, by name."""
        with self._query(model) as query:
            return summarize_cameras(query)

    def presence(
        self,
        model: str,
        bucket_s: int,
        cameras: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """Count crops by camera and time bucket; see `camera_presence`."""
        with self._query(model) as query:
            return camera_presence(query, bucket_s, cameras, since, until)

    def count(self, model: str, selected: SightingFilter = ALL_SIGHTINGS) -> int:
        """Return the number of selected sightings."""
        with self._query(model) as query:
            return sum(part.count(query.connection) for part in query.slices(selected))

    def count_without_time(self, model: str, selected: SightingFilter) -> int:
        """Return the number of sightings that a filter's time range leaves out because they have no time."""
        if selected.since is None and selected.until is None:
            return 0
        with self._query(model) as query:
            parts = query.slices(replace(selected, since=None, until=None))
            return sum(replace(part, where=f"{part.where} AND time IS NULL").count(query.connection) for part in parts)

    def page(self, model: str, selected: SightingFilter, *, offset: int, limit: int) -> list[Sighting]:
        """Return `limit` selected sightings after the first `offset`, by camera, time (unknown first) and crop."""
        sightings: list[Sighting] = []
        with self._query(model) as query:
            for part in query.slices(selected):
                if len(sightings) == limit:
                    break
                # Earlier cameras are counted, not read.
                if offset and (count := part.count(query.connection)) <= offset:
                    offset -= count
                    continue
                ids = f"SELECT id FROM sighting WHERE {part.where} ORDER BY time, crop LIMIT ? OFFSET ?"
                sightings += _sightings(
                    query,
                    f"WHERE s.id IN ({ids}) ORDER BY s.time, s.crop",
                    (*part.values, limit - len(sightings), offset),
                )
                offset = 0
        return sightings

    def find(self, crop: str, model: str) -> Sighting | None:
        """Return the sighting that a crop belongs to, None for an unknown crop."""
        with self._query(model) as query:
            of_crop = "JOIN crop ON crop.sighting = s.id WHERE crop.id = ? AND s.model = ? ORDER BY s.file LIMIT 1"
            return next(iter(_sightings(query, of_crop, (_to_key(crop), query.number))), None)

    def by_confidence(
        self,
        model: str,
        selected: SightingFilter,
        attribute: str,
        *,
        first: Literal["least", "most"],
        offset: int,
        limit: int,
    ) -> list[Sighting]:
        """Return sightings as `page` does, ordered by the model's confidence in their `attribute`."""
        with self._query(model) as query:
            place = 2 * require_attributes(query.model).index(attribute) + 1
            sign, direction = (1, "ASC") if first == "least" else (-1, "DESC")
            # Probabilities are half floats, lowest byte first. None is negative, so that their bytes order them.
            order = f"substr(confidence, {place + 1}, 1) {direction}, substr(confidence, {place}, 1) {direction}, crop"
            rows: list[tuple[int, bytes, bytes]] = []
            for parts in chunks(query.slices(selected)):
                union = " UNION ALL ".join(
                    f"SELECT id, confidence, crop FROM sighting WHERE {part.where}" for part in parts
                )
                values = [value for part in parts for value in part.values]
                statement = f"SELECT id, substr(confidence, {place}, 2), crop FROM ({union}) ORDER BY {order} LIMIT ?"
                rows += query.connection.execute(statement, (*values, offset + limit))
            rows.sort(key=lambda row: (sign * int.from_bytes(row[1], "little"), row[2]))
            ids = [row[0] for row in rows[offset : offset + limit]]
            sightings = {sighting.id: sighting for sighting in _sightings(query, f"WHERE s.id IN ({_marks(ids)})", ids)}
        return [sightings[number] for number in ids]

    def crops(self, sighting: int) -> list[str]:
        """Return the crops of a sighting in order of time, an empty list for an unknown sighting."""
        with self._file.read() as connection:
            return _crops_of(connection, sighting)

    def neighbours(self, crop: str, model: str) -> list[str]:
        """Return the other crops of the same frame, then the others of the crop's sighting."""
        statement = (
            "SELECT crop.number, crop.scene, s.id, file.first_crop, file.crops FROM crop "
            "JOIN sighting AS s ON s.id = crop.sighting JOIN file ON file.id = s.file "
            "WHERE crop.id = ? AND s.model = ? ORDER BY s.file"
        )
        with self._query(model) as query:
            row = query.connection.execute(statement, (_to_key(crop), query.number)).fetchone()
            if row is None:
                return []
            number, scene, sighting, first, count = row
            # The crops of a frame are in one file, which is short enough for a scan.
            same_frame = query.connection.execute(
                "SELECT id FROM crop WHERE number >= ? AND number < ? AND scene = ? AND number <> ? ORDER BY id",
                (first, first + count, scene, number),
            )
            ids = dict.fromkeys(key.hex() for (key,) in same_frame)
            ids |= dict.fromkeys(other for other in _crops_of(query.connection, sighting) if other != crop)
        return list(ids)

    def rows(self, ids: Sequence[str], columns: Sequence[str], *, model: str) -> list[dict[str, Any]]:
        """Return rows of crops as `CropRepository.get` does, reading only the row groups that hold them.

        Raises:
            StoreError: For an unknown column, and for a crop that is not visible.
        """
        by_file: dict[int, list[int]] = {}
        for file, row, _ in self._positions(ids, model).values():
            by_file.setdefault(file, []).append(row)
        rows = self._store.crops.get_at(by_file, columns)
        missing = [crop for crop in dict.fromkeys(ids) if crop not in rows]
        # Only crops that were committed after the last refresh need a search.
        if missing and self.pending():
            rows |= {row["crop_id"]: row for row in self._store.crops.get(missing, columns, model=model)}
        return in_order(ids, rows)

    def pids(self, ids: Sequence[str], model: str) -> dict[str, int]:
        """Return crop id -> label of the dataset; without unknown crops and crops that have none."""
        return {crop: pid for crop, (_, _, pid) in self._positions(ids, model).items() if pid is not None}

    def attribute_counts(self, model: str, selected: SightingFilter = ALL_SIGHTINGS) -> dict[str, dict[str, int]]:
        """Return attribute -> value -> number of sightings; {} for a model without attributes."""
        with self._query(model) as query:
            schema = query.schema
            if schema is None:
                return {}
            width = max(len(attribute.values) for attribute in schema.attributes)
            totals = np.zeros((len(schema), width), np.int64)
            for part in query.slices(selected):
                for joined in _class_bytes(query.connection, part):
                    table = np.frombuffer(joined, np.uint8).reshape(-1, len(schema))
                    totals += np.stack([np.bincount(column, minlength=width) for column in table.T])
        return {
            attribute.name: dict(zip(attribute.values, counts.tolist(), strict=False))
            for attribute, counts in zip(schema.attributes, totals, strict=True)
        }

    def confidence_histograms(self, model: str, cameras: Collection[str] | None = None) -> dict[str, Int64Array]:
        """Return attribute -> (values, `LEVELS`): crops by predicted value and confidence, {} without attributes."""
        with self._query(model) as query:
            return confidence_histograms(query, cameras)

    def _positions(self, ids: Sequence[str], model: str) -> dict[str, tuple[int, int, int | None]]:
        """Return crop id -> file, row in the file and pid, without unknown crops."""
        positions: dict[str, tuple[int, int, int | None]] = {}
        with self._query(model) as query:
            for chunk in chunks(list(map(_to_key, ids))):
                statement = (
                    "SELECT crop.id, s.file, crop.place, s.pid FROM crop JOIN sighting AS s ON s.id = crop.sighting "
                    f"WHERE crop.id IN ({_marks(chunk)}) AND s.model = ? ORDER BY s.file DESC"
                )
                rows = query.connection.execute(statement, (*chunk, query.number))
                positions |= {row[0].hex(): row[1:] for row in rows}
        return positions

    @contextmanager
    def _query(self, model: str) -> Iterator[IndexQuery]:
        known = next((candidate for candidate in self._store.models.list() if candidate.digest == model), None)
        if known is None:
            raise StoreError(f"the store holds no crops of model {model[:12]}: index with it first (`vestigo index`)")
        cameras = self._store.cameras.list()
        offsets = {camera.name: timedelta(seconds=camera.clock_offset_s) for camera in cameras}
        with self._file.read() as connection:
            row = connection.execute("SELECT id FROM model WHERE digest = ?", (model,)).fetchone()
            yield IndexQuery(connection, known, row[0] if row else 0, offsets)


def _sightings(query: IndexQuery, condition: str, values: Sequence[Any]) -> list[Sighting]:
    """Return the sightings that an SQL condition with its values selects."""
    return [_to_sighting(query, row) for row in query.connection.execute(f"SELECT {_COLUMNS} {condition}", values)]


def _to_sighting(query: IndexQuery, row: Sequence[Any]) -> Sighting:
    number, crop, camera, time, offset_s, tracklet, pid, count, classes, confidence = row
    schema = query.schema.attributes if query.schema and classes else ()
    probabilities = np.frombuffer(confidence, np.float16).tolist()
    attributes = list(zip(schema, classes, probabilities, strict=False))
    return Sighting(
        id=number,
        crop=crop.hex(),
        camera=camera,
        time=correct_time(time, query.offset(camera)),
        offset_s=offset_s,
        tracklet=tracklet,
        pid=pid,
        crops=count,
        attributes={attribute.name: attribute.values[value] for attribute, value, _ in attributes},
        confidences={attribute.name: round(probability, 3) for attribute, _, probability in attributes},
    )


def _crops_of(connection: Connection, sighting: int) -> list[str]:
    statement = (
        "SELECT crop.id FROM sighting AS s JOIN crop ON number >= first_crop AND number < first_crop + s.crops "
        "WHERE s.id = ? ORDER BY number"
    )
    return [key.hex() for (key,) in connection.execute(statement, (sighting,))]


def _class_bytes(connection: Connection, part: CameraSlice) -> Iterator[bytes]:
    """Yield the classes of `READ_ROWS` sightings at a time, joined by the database, which is faster than Python."""
    limited = f"SELECT classes FROM sighting WHERE {part.where} LIMIT {READ_ROWS} OFFSET ?"
    statement = f"SELECT count(*), CAST(group_concat(classes, '') AS BLOB) FROM ({limited})"
    count = READ_ROWS
    for offset in itertools.count(0, READ_ROWS):
        if count < READ_ROWS:
            return
        count, joined = connection.execute(statement, (*part.values, offset)).fetchone()
        yield joined or b""


def _to_key(crop: str) -> bytes:
    """Return the bytes of a crop id, or bytes that no crop has."""
    try:
        key = bytes.fromhex(crop)
    except ValueError:
        return b""
    return key if len(key) == ID_BYTES and key.hex() == crop else b""


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


@dataclass(frozen=True)
class IndexedCrops(CropRepository):
    """The crops of a store; crops of a named model are read at the positions that the browse index knows."""

    index: BrowseIndex

    def get(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Return crops in the order of `ids`; see `CropRepository.get`."""
        if model is None:
            return super().get(ids, columns)
        return self.index.rows(ids, CROP_COLUMNS if columns is None else columns, model=model)


class IndexedArchive:
    """A `vestigo.retrieval.gallery.SearchableStore` whose crops are read through its browse index."""

    def __init__(self, store: Store, index: BrowseIndex) -> None:
        self.ref = store.ref
        self.crops = IndexedCrops(store.database, store.root, index)
        self.models = store.models
