"""Turn a filter of sightings into SQL conditions that indexes answer, camera by camera."""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from vestigo.resolve import require_attributes
from vestigo.sightings.records import SightingFilter
from vestigo.store.models.records import Model
from vestigo_models.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class CameraSlice:
    """The selected sightings of one camera, ordered by (time, crop), unknown times first.

    Attributes:
        offset: Added to recorded times.
        where, values: A condition on the table `sighting` and its parameters.
    """

    camera: int
    name: str
    offset: timedelta
    where: str
    values: tuple[Any, ...]

    def count(self, connection: sqlite3.Connection) -> int:
        """Return the number of sightings."""
        return int(connection.execute(f"SELECT count(*) FROM sighting WHERE {self.where}", self.values).fetchone()[0])


def select_slices(
    connection: sqlite3.Connection, model: Model, selected: SightingFilter, offsets: Mapping[str, timedelta]
) -> list[CameraSlice]:
    """Return the slices of a filter in order of the cameras' names."""
    number = model_number(connection, model.digest)
    terms: list[tuple[str, Any]] = [] if selected.pid is None else [("pid = ?", selected.pid)]
    if selected.where:
        schema = require_attributes(model)
        for name, value in schema.parse(selected.where).items():
            condition = f"substr(classes, {schema.index(name) + 1}, 1) = ?"
            terms.append((condition, bytes([schema[name].values.index(value)])))
    slices = []
    for camera, name in cameras_of(connection, number, selected.cameras):
        offset = offsets.get(name, timedelta())
        span = [
            (f"time {sign} ?", to_microseconds(bound - offset))
            for sign, bound in ((">=", require_zone(selected.since)), ("<", require_zone(selected.until)))
            if bound is not None
        ]
        conditions = [("model = ?", number), ("camera = ?", camera), *span, *terms]
        where = " AND ".join(condition for condition, _ in conditions)
        slices.append(CameraSlice(camera, name, offset, where, tuple(value for _, value in conditions)))
    return slices


def model_number(connection: sqlite3.Connection, digest: str) -> int:
    """Return the number of a model in the index, 0 (which no model has) for an unknown one."""
    row = connection.execute("SELECT id FROM model WHERE digest = ?", (digest,)).fetchone()
    return 0 if row is None else int(row[0])


def cameras_of(
    connection: sqlite3.Connection, model: int, names: Collection[str] | None = None
) -> list[tuple[int, str]]:
    """Return numbers and names of the cameras that have crops of a model, by name; of all cameras without `names`."""
    statement = "SELECT id, name FROM camera WHERE id IN (SELECT camera FROM presence WHERE model = ?) ORDER BY name"
    return [row for row in connection.execute(statement, (model,)) if names is None or row[1] in names]


def require_zone(time: datetime | None) -> datetime | None:
    """Return the same time; raise UsageError if it has no zone."""
    if time is not None and time.tzinfo is None:
        raise UsageError(f"time {time} has no zone: append one, such as +00:00")
    return time


def to_microseconds(time: datetime) -> int:
    """Return microseconds since 1970, the unit of the index."""
    return (time - EPOCH) // MICROSECOND


def correct_time(recorded: int | None, offset: timedelta) -> datetime | None:
    """Return a recorded time plus the clock offset of its camera, None if unknown."""
    return None if recorded is None else EPOCH + recorded * MICROSECOND + offset
