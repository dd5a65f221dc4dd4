"""Questions about sightings: which, of whom, and what they show."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import numpy as np

from vestigo.sightings.grouping import ID_BYTES
from vestigo.sightings.records import Sighting
from vestigo.sightings.selection import Slice, moment
from vestigo_models.schemas.attributes import AttributeSchema

KEYS_PER_QUERY = 500
READ_ROWS = 1 << 16
_COLUMNS = (
    "s.id, s.crop, camera.name, s.time, s.offset_s, s.tracklet, s.pid, s.crops, s.classes, s.sure "
    "FROM sighting AS s JOIN camera ON camera.id = s.camera"
)


def page(
    connection: sqlite3.Connection, parts: Iterable[Slice], schema: AttributeSchema | None, offset: int, limit: int
) -> list[Sighting]:
    """Return `limit` sightings after the first `offset`, those of a camera in order of (time, crop)."""
    found: list[Sighting] = []
    for part in parts:
        if len(found) == limit:
            break
        # Earlier cameras are counted and not read.
        if offset and (count := part.count(connection)) <= offset:
            offset -= count
            continue
        chosen = f"SELECT id FROM sighting WHERE {part.where} ORDER BY time, crop LIMIT ? OFFSET ?"
        rows = connection.execute(
            f"SELECT {_COLUMNS} WHERE s.id IN ({chosen}) ORDER BY s.time, s.crop",
            (*part.values, limit - len(found), offset),
        )
        found += [_to_sighting(row, schema, {part.name: part.offset}) for row in rows]
        offset = 0
    return found


def find(
    connection: sqlite3.Connection,
    crop: str,
    model: int,
    schema: AttributeSchema | None,
    offsets: Mapping[str, timedelta],
) -> Sighting | None:
    """Return the sighting that a crop belongs to, None where no crop of the model has this id."""
    query = f"SELECT {_COLUMNS} JOIN crop ON crop.sighting = s.id WHERE crop.id = ? AND s.model = ? ORDER BY s.file"
    row = connection.execute(query, (_key(crop), model)).fetchone()
    return None if row is None else _to_sighting(row, schema, offsets)


def by_sureness(
    connection: sqlite3.Connection,
    parts: Sequence[Slice],
    schema: AttributeSchema,
    attribute: str,
    offsets: Mapping[str, timedelta],
    *,
    first: Literal["least", "most"],
    offset: int,
    limit: int,
) -> list[Sighting]:
    """Return `limit` sightings after the first `offset`, by how sure their value of an attribute is, then by crop."""
    place = 2 * schema.index(attribute) + 1
    sign, way = (1, "ASC") if first == "least" else (-1, "DESC")
    # Probabilities are half floats, lowest byte first: none is negative, so that they are ordered as their bytes are.
    order = f"substr(sure, {place + 1}, 1) {way}, substr(sure, {place}, 1) {way}, crop"
    found: list[tuple[int, bytes, bytes]] = []
    for some in _chunks(parts):
        chosen = " UNION ALL ".join(f"SELECT id, sure, crop FROM sighting WHERE {part.where}" for part in some)
        values = [value for part in some for value in part.values]
        query = f"SELECT id, substr(sure, {place}, 2), crop FROM ({chosen}) ORDER BY {order} LIMIT ?"
        found += connection.execute(query, (*values, offset + limit))
    found.sort(key=lambda row: (sign * int.from_bytes(row[1], "little"), row[2]))
    ids = [row[0] for row in found[offset : offset + limit]]
    query = f"SELECT {_COLUMNS} WHERE s.id IN ({_marks(ids)})"
    shown = {row[0]: _to_sighting(row, schema, offsets) for row in connection.execute(query, ids)}
    return [shown[number] for number in ids]


def crops(connection: sqlite3.Connection, sighting: int) -> list[str]:
    """Return the crops of a sighting in order of time; none where there is no such sighting."""
    query = (
        "SELECT crop.id FROM sighting AS s JOIN crop ON number >= first_crop AND number < first_crop + s.crops "
        "WHERE s.id = ? ORDER BY number"
    )
    return [_hex(key) for (key,) in connection.execute(query, (sighting,))]


def neighbours(connection: sqlite3.Connection, crop: str, model: int) -> list[str]:
    """Return the other crops of the frame that a crop was cut from, and then those of its sighting."""
    query = (
        "SELECT crop.number, crop.scene, s.id, file.first_crop, file.crops FROM crop "
        "JOIN sighting AS s ON s.id = crop.sighting JOIN file ON file.id = s.file "
        "WHERE crop.id = ? AND s.model = ? ORDER BY s.file"
    )
    row = connection.execute(query, (_key(crop), model)).fetchone()
    if row is None:
        return []
    number, scene, sighting, first, count = row
    # A frame's crops lie in one file; it is short enough to be looked through.
    beside = connection.execute(
        "SELECT id FROM crop WHERE number >= ? AND number < ? AND scene = ? AND number <> ? ORDER BY id",
        (first, first + count, scene, number),
    )
    found = dict.fromkeys(_hex(key) for (key,) in beside)
    found |= dict.fromkeys(name for name in crops(connection, sighting) if name != crop)
    return list(found)


def places(connection: sqlite3.Connection, ids: Sequence[str], model: int) -> dict[str, tuple[int, int, int | None]]:
    """Return crop id to file, row in the file and known pid; crops that the model has not are left out."""
    found: dict[str, tuple[int, int, int | None]] = {}
    for some in _chunks(list(map(_key, ids))):
        query = (
            "SELECT crop.id, s.file, crop.place, s.pid FROM crop JOIN sighting AS s ON s.id = crop.sighting "
            f"WHERE crop.id IN ({_marks(some)}) AND s.model = ? ORDER BY s.file DESC"
        )
        found |= {_hex(row[0]): row[1:] for row in connection.execute(query, (*some, model))}
    return found


def pid_counts(connection: sqlite3.Connection, model: int, pids: Sequence[int]) -> list[tuple[int, str, int]]:
    """Return (pid, camera, crops) of people who are known, by pid and camera."""
    found: list[tuple[int, str, int]] = []
    for some in _chunks(sorted(set(pids))):
        query = (
            "SELECT pid, camera.name, sum(crops) FROM sighting JOIN camera ON camera.id = sighting.camera "
            f"WHERE model = ? AND pid IN ({_marks(some)}) GROUP BY pid, camera.name"
        )
        found += connection.execute(query, (model, *some)).fetchall()
    return sorted(found)


def attribute_counts(
    connection: sqlite3.Connection, parts: Iterable[Slice], schema: AttributeSchema
) -> dict[str, dict[str, int]]:
    """Return attribute -> value -> how many sightings show it; memory is that of `READ_ROWS` of them."""
    width = max(len(attribute.values) for attribute in schema.attributes)
    totals = np.zeros((len(schema), width), np.int64)
    for part in parts:
        for joined in _classes(connection, part):
            table = np.frombuffer(joined, np.uint8).reshape(-1, len(schema))
            totals += np.stack([np.bincount(column, minlength=width) for column in table.T])
    return {
        attribute.name: dict(zip(attribute.values, counts.tolist(), strict=False))
        for attribute, counts in zip(schema.attributes, totals, strict=True)
    }


def _classes(connection: sqlite3.Connection, part: Slice) -> Iterator[bytes]:
    """Yield the classes of sightings one after the other, joined by the database: a Python object each is slower."""
    some = f"SELECT classes FROM sighting WHERE {part.where} LIMIT {READ_ROWS} OFFSET ?"
    query = f"SELECT count(*), CAST(group_concat(classes, '') AS BLOB) FROM ({some})"
    count = READ_ROWS
    for offset in itertools.count(0, READ_ROWS):
        if count < READ_ROWS:
            return
        count, joined = connection.execute(query, (*part.values, offset)).fetchone()
        yield joined or b""


def _to_sighting(row: Sequence[Any], schema: AttributeSchema | None, offsets: Mapping[str, timedelta]) -> Sighting:
    number, crop, camera, time, offset_s, tracklet, pid, count, classes, sure = row
    attributes = () if schema is None or not classes else schema.attributes
    return Sighting(
        id=number,
        crop=_hex(crop),
        camera=camera,
        time=moment(time, offsets.get(camera, timedelta())),
        offset_s=offset_s,
        tracklet=tracklet,
        pid=pid,
        crops=count,
        attributes={attribute.name: attribute.values[k] for attribute, k in zip(attributes, classes, strict=False)},
        sure={
            attribute.name: round(float(p), 3)
            for attribute, p in zip(attributes, np.frombuffer(sure, np.float16), strict=False)
        },
    )


def _key(crop: str) -> bytes:
    """The bytes of a crop id; of what is none, bytes that no crop has."""
    try:
        key = bytes.fromhex(crop)
    except ValueError:
        return b""
    return key if len(key) == ID_BYTES and key.hex() == crop else b""


def _hex(key: bytes) -> str:
    return key.hex()


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    pending = iter(values)
    while some := list(itertools.islice(pending, KEYS_PER_QUERY)):
        yield some
