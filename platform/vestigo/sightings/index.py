"""The browse index of a store: one door to cameras, sightings and crops."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from sqlite3 import Connection
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.resolve import require_attributes
from vestigo.sightings import confidence as sureness
from vestigo.sightings import presence
from vestigo.sightings import queries as sightings
from vestigo.sightings import refresh as filling
from vestigo.sightings.database import IndexFile, index_path
from vestigo.sightings.records import EVERYBODY, CameraSummary, Choice, Sighting
from vestigo.sightings.selection import Slice, cameras_of, model_number, slices
from vestigo.store.crops.reader import in_order
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo_models.errors import StoreError
from vestigo_models.schemas.attributes import AttributeSchema


class BrowseIndex:
    """Answers from the files that were visible at the last `refresh`; safe for threads and several processes.

    `model` is a digest; a model that the index has no crops of has no cameras and no sightings. Times are corrected
    by the clock offsets that the catalogue names when one asks.
    """

    def __init__(self, store: Store, file: IndexFile) -> None:
        self._store = store
        self._file = file

    @classmethod
    def open(cls, store: Store) -> BrowseIndex:
        """Open the index of a store, an empty one where there is none yet; the store stays the caller's.

        Raises StoreError where its file cannot be made.
        """
        return cls(store, IndexFile(index_path(store)))

    def refresh(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Bring the index up to date; `progress` hears of files done and in all. Return whether anything changed.

        Raises StoreError for a file of the store that cannot be read; what was read before it stays.
        """
        return filling.refresh(self._store, self._file, progress or _silent)

    def pending(self) -> int:
        """Return how many crops are in files that are not indexed yet, from the catalogue alone."""
        visible = self._store.crops.files()
        with self._file.read() as connection:
            return sum(file.rows for file in filling.unread(connection, visible))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def snapshot(self) -> str:
        """What names the visible crops and clock offsets of the store now; see `Store.snapshot`."""
        return self._store.crops.snapshot()

    def cameras(self, model: str) -> list[CameraSummary]:
        """Return the cameras on which a model saw anybody, by name."""
        with self._asked(model) as asked:
            return presence.summaries(asked.connection, asked.number, asked.offsets)

    def presence(
        self,
        model: str,
        bucket_s: int,
        cameras: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """Count crops by camera and stretch of time; columns `camera`, `start` and `crops`, empty stretches left out.

        Stretches are `bucket_s` seconds long and counted from 1970; `since` is included and `until` not. Raises
        UsageError for less than a second and for times without a zone.
        """
        with self._asked(model) as asked:
            return presence.presence(asked.connection, asked.number, bucket_s, cameras, since, until, asked.offsets)

    def count(self, model: str, choice: Choice = EVERYBODY) -> int:
        """Return how many sightings are meant; errors as in `page`."""
        with self._asked(model) as asked:
            return sum(part.count(asked.connection) for part in asked.slices(choice))

    def page(self, model: str, choice: Choice, *, offset: int, limit: int) -> list[Sighting]:
        """Return `limit` of the sightings meant after the first `offset`, by camera, time (unknown first) and crop.

        Raises UsageError for conditions on a model without attributes and for times without a zone, ConfigError for
        conditions that its schema does not know.
        """
        with self._asked(model) as asked:
            return sightings.page(asked.connection, asked.slices(choice), asked.schema, offset, limit)

    def find(self, crop: str, model: str) -> Sighting | None:
        """Return the sighting that a crop belongs to, None for a crop that the index does not know."""
        with self._asked(model) as asked:
            return sightings.find(asked.connection, crop, asked.number, asked.schema, asked.offsets)

    def crops(self, sighting: int) -> list[str]:
        """Return the crops of a sighting in order of time, none where it is gone."""
        with self._file.read() as connection:
            return sightings.crops(connection, sighting)

    def neighbours(self, crop: str, model: str) -> list[str]:
        """Return the other crops of the same frame (of source and input), then the others of the crop's sighting."""
        with self._asked(model) as asked:
            return sightings.neighbours(asked.connection, crop, asked.number)

    def rows(self, ids: Sequence[str], columns: Sequence[str], *, model: str) -> list[dict[str, Any]]:
        """Return crops as `Store.crops` does; only the row groups that hold them are read.

        Raises StoreError for an unknown column, and for a crop that is not visible.
        """
        with self._asked(model) as asked:
            known = sightings.places(asked.connection, ids, asked.number)
        wanted: dict[int, list[int]] = {}
        for file, row, _ in known.values():
            wanted.setdefault(file, []).append(row)
        found = self._store.crops.get_at(wanted, columns)
        missing = [crop for crop in dict.fromkeys(ids) if crop not in found]
        # Only what came after the last refresh is worth a search.
        if missing and self.pending():
            found |= {row["crop_id"]: row for row in self._store.crops.get(missing, columns, model=model)}
        return in_order(ids, found)

    def pids(self, ids: Sequence[str], model: str) -> dict[str, int]:
        """Return crop id to the dataset's label; crops without one, and unknown ones, are left out."""
        with self._asked(model) as asked:
            known = sightings.places(asked.connection, ids, asked.number)
        return {crop: pid for crop, (_, _, pid) in known.items() if pid is not None}

    def pid_counts(self, model: str, pids: Sequence[int]) -> list[tuple[int, str, int]]:
        """Return (pid, camera, crops) of known people, in this order."""
        with self._asked(model) as asked:
            return sightings.pid_counts(asked.connection, asked.number, pids)

    def attribute_counts(self, model: str, choice: Choice = EVERYBODY) -> dict[str, dict[str, int]]:
        """Return attribute -> value -> sightings, {} for a model without attributes; errors as in `page`."""
        with self._asked(model) as asked:
            if asked.schema is None:
                return {}
            return sightings.attribute_counts(asked.connection, asked.slices(choice), asked.schema)

    def sureness(self, model: str, cameras: Collection[str] | None = None) -> dict[str, NDArray[np.int64]]:
        """Return attribute -> (values, `LEVELS`) int64: all crops by what they are taken for, and how surely.

        {} for a model without attributes; see `vestigo.sightings.confidence`.
        """
        with self._asked(model) as asked:
            if asked.schema is None:
                return {}
            known = cameras_of(asked.connection, asked.number)
            wanted = [number for number, name in known if cameras is None or name in cameras]
            return sureness.sureness(asked.connection, asked.number, wanted, asked.schema)

    def by_sureness(
        self, model: str, choice: Choice, attribute: str, *, first: Literal["least", "most"], offset: int, limit: int
    ) -> list[Sighting]:
        """Return sightings as `page` does, ordered by how sure the model is of their `attribute`; errors as there."""
        with self._asked(model) as asked:
            schema, parts = require_attributes(asked.model), asked.slices(choice)
            return sightings.by_sureness(
                asked.connection, parts, schema, attribute, asked.offsets, first=first, offset=offset, limit=limit
            )

    @contextmanager
    def _asked(self, model: str) -> Iterator[_Asked]:
        known = next((one for one in self._store.models.list() if one.digest == model), None)
        if known is None:
            raise StoreError(f"the store holds no crops of model {model[:12]}: index with it first (`vestigo index`)")
        offsets = {camera.name: timedelta(seconds=camera.clock_offset_s) for camera in self._store.cameras.list()}
        with self._file.read() as connection:
            yield _Asked(connection, known, offsets, model_number(connection, model))


@dataclass(frozen=True)
class _Asked:
    """What a question is answered from: one snapshot of the index, and what the catalogue says of model and clocks."""

    connection: Connection
    model: Model
    offsets: dict[str, timedelta]
    number: int

    @property
    def schema(self) -> AttributeSchema | None:
        return self.model.facts.attributes

    def slices(self, choice: Choice) -> list[Slice]:
        return slices(self.connection, self.model, choice, self.offsets)


def _silent(done: int, total: int) -> None:
    """Report nothing."""
