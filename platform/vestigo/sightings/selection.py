"""Queries of the browse index: filters of sightings as SQL conditions that indexes answer, camera by camera."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from sqlite3 import Connection
from typing import Any

from vestigo.resolve import require_attributes
from vestigo.sightings.records import SightingFilter
from vestigo.store.crops.cameras import match_cameras
from vestigo.store.models.records import Model
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class CameraSlice:
    """The selected sightings of one camera, ordered by (time, crop), unknown times first.

    Attributes:
        where, values: A condition on the table `sighting` and its parameters.
    """

    where: str
    values: tuple[Any, ...]

    def count(self, connection: Connection) -> int:
        """Return the number of sightings."""
        return int(connection.execute(f"SELECT count(*) FROM sighting WHERE {self.where}", self.values).fetchone()[0])


@dataclass(frozen=True)
class IndexQuery:
    """One snapshot of the index, with the model and the clock offsets of the catalogue by camera.

    `number` is that of the model in the index, 0 (which no model has) while none of its files is indexed.
    """

    connection: Connection
    model: Model
    number: int
    offsets: Mapping[str, timedelta]

    @property
    def schema(self) -> AttributeSchema | None:
        """Attributes of the model."""
        return self.model.facts.attributes

    def cameras(self, names: Collection[str] | None = None) -> list[tuple[int, str, timedelta]]:
        """Return number, name and clock offset of the cameras that have crops of the model, by name.

        Args:
            names: Only these cameras; raises as `match_cameras`.
        """
        matching = None if names is None else match_cameras(names, list(self.offsets))
        query = "SELECT id, name FROM camera WHERE id IN (SELECT camera FROM presence WHERE model = ?) ORDER BY name"
        rows = self.connection.execute(query, (self.number,))
        return [(id_, name, self.offset(name)) for id_, name in rows if matching is None or name in matching]

    def offset(self, camera: str) -> timedelta:
        """Return what is added to the times that a camera recorded."""
        return self.offsets.get(camera, timedelta())

    def slices(self, selected: SightingFilter) -> list[CameraSlice]:
        """Return the slices of a filter in order of the cameras' names."""
        terms: list[tuple[str, Any]] = [] if selected.pid is None else [("pid = ?", selected.pid)]
        if selected.where:
            schema = require_attributes(self.model)
            for name, value in schema.parse(selected.where).items():
                condition = f"substr(classes, {schema.index(name) + 1}, 1) = ?"
                terms.append((condition, bytes([schema[name].values.index(value)])))
        slices = []
        for camera, _, offset in self.cameras(selected.cameras):
            span = [
                (f"time {sign} ?", to_microseconds(bound - offset))
                for sign, bound in ((">=", require_zone(selected.since)), ("<", require_zone(selected.until)))
                if bound is not None
            ]
            conditions = [("model = ?", self.number), ("camera = ?", camera), *span, *terms]
            where = " AND ".join(condition for condition, _ in conditions)
            slices.append(CameraSlice(where, tuple(value for _, value in conditions)))
        return slices


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
