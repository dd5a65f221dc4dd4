"""From a choice to conditions that the database answers from an index, camera by camera."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from vestigo.resolve import require_attributes
from vestigo.sightings.records import Choice
from vestigo.store.models.records import Model
from vestigo_models.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Slice:
    """The chosen sightings of one camera; they are in the order of (time, crop), unknown times first.

    Attributes:
        offset: what is added to recorded times.
        where, values: a condition on the table `sighting`, and what it is asked with.
    """

    camera: int
    name: str
    offset: timedelta
    where: str
    values: tuple[Any, ...]

    def count(self, connection: sqlite3.Connection) -> int:
        """How many sightings there are."""
        return int(connection.execute(f"SELECT count(*) FROM sighting WHERE {self.where}", self.values).fetchone()[0])


def slices(
    connection: sqlite3.Connection, model: Model, choice: Choice, offsets: Mapping[str, timedelta]
) -> list[Slice]:
    """Return the slices of a choice in order of the cameras' names.

    Raises UsageError for conditions on a model without attributes and for times without a zone, ConfigError for
    conditions that its schema does not know.
    """
    number = model_number(connection, model.digest)
    terms: list[tuple[str, Any]] = []
    if choice.pid is not None:
        terms.append(("pid = ?", choice.pid))
    schema = require_attributes(model) if choice.where else None
    for name, value in ({} if schema is None else schema.parse(choice.where)).items():
        assert schema is not None
        place = schema.index(name)
        terms.append((f"substr(classes, {place + 1}, 1) = ?", bytes([schema[name].values.index(value)])))
    found = []
    for camera, name in cameras_of(connection, number):
        if choice.cameras is not None and name not in choice.cameras:
            continue
        offset = offsets.get(name, timedelta())
        span = [
            (f"time {sign} ?", microseconds(bound - offset))
            for sign, bound in ((">=", aware(choice.since)), ("<", aware(choice.until)))
            if bound is not None
        ]
        conditions = [("model = ?", number), ("camera = ?", camera), *span, *terms]
        where = " AND ".join(condition for condition, _ in conditions)
        found.append(Slice(camera, name, offset, where, tuple(value for _, value in conditions)))
    return found


def model_number(connection: sqlite3.Connection, digest: str) -> int:
    """The number of a model in the index; 0, which nothing has, for one that is not in it."""
    row = connection.execute("SELECT id FROM model WHERE digest = ?", (digest,)).fetchone()
    return 0 if row is None else int(row[0])


def cameras_of(connection: sqlite3.Connection, model: int) -> list[tuple[int, str]]:
    """Numbers and names of the cameras that a model saw, by name."""
    rows = connection.execute("SELECT DISTINCT camera FROM presence WHERE model = ?", (model,)).fetchall()
    names = dict(connection.execute("SELECT id, name FROM camera"))
    return sorted(((number, names[number]) for (number,) in rows), key=lambda camera: camera[1])


def aware(time: datetime | None) -> datetime | None:
    """The same time. Raises UsageError for one without a zone."""
    if time is not None and time.tzinfo is None:
        raise UsageError(f"time {time} has no zone: write one behind it, such as +00:00")
    return time


def microseconds(time: datetime) -> int:
    """Microseconds since 1970, as the index keeps times."""
    return (time - EPOCH) // MICROSECOND


def moment(recorded: int | None, offset: timedelta) -> datetime | None:
    """A recorded time, put right."""
    return None if recorded is None else EPOCH + recorded * MICROSECOND + offset
