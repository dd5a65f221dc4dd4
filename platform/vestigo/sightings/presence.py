"""When each camera recorded people."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from vestigo.sightings.records import CameraSummary
from vestigo.sightings.selection import MICROSECOND, cameras_of, correct_time, require_zone, to_microseconds
from vestigo_models.arrays import Int64Array
from vestigo_models.errors import UsageError

SAMPLES = 8
"""Sample crops of a camera."""
READ_FILES = 256
SCHEMA = pa.schema([("camera", pa.string()), ("start", pa.timestamp("us", tz="UTC")), ("crops", pa.int64())])


def summarize_cameras(
    connection: sqlite3.Connection, model: int, offsets: Mapping[str, timedelta]
) -> list[CameraSummary]:
    """Return the cameras that have crops of a model, by name."""
    query = "SELECT sum(crops), sum(sightings), min(first), max(last) FROM presence WHERE model = ? AND camera = ?"
    summaries = []
    for camera, name in cameras_of(connection, model):
        crops, sightings, first, last = connection.execute(query, (model, camera)).fetchone()
        offset = offsets.get(name, timedelta())
        summaries.append(
            CameraSummary(
                name=name,
                crops=crops,
                sightings=sightings,
                first=correct_time(first, offset),
                last=correct_time(last, offset),
                samples=_samples(connection, model, camera, first, last),
            )
        )
    return summaries


def camera_presence(
    connection: sqlite3.Connection,
    model: int,
    bucket_s: int,
    cameras: Collection[str] | None,
    since: datetime | None,
    until: datetime | None,
    offsets: Mapping[str, timedelta],
) -> pa.Table:
    """Count crops by camera and time bucket, without empty buckets.

    Buckets last `bucket_s` seconds and are counted from 1970; crops of unknown time are in none. Only recording times
    from `since` to before `until` count.

    Raises:
        UsageError: If `bucket_s` is below 1, and for times without a zone.
    """
    if bucket_s < 1:
        raise UsageError(f"a bucket of {bucket_s} seconds is too short: use at least 1")
    parts = [SCHEMA.empty_table()]
    for camera, name in cameras_of(connection, model, cameras):
        shift = offsets.get(name, timedelta()) // MICROSECOND
        bounds = [None if bound is None else to_microseconds(bound) for bound in map(require_zone, (since, until))]
        step = bucket_s * 1_000_000
        counts: Counter[int] = Counter()
        for times in _times(connection, model, camera):
            times = times + shift
            low, high = (
                len(times) * side if bound is None else int(np.searchsorted(times, bound))
                for side, bound in enumerate(bounds)
            )
            starts, crops = np.unique(times[low:high] // step * step, return_counts=True)
            counts.update(dict(zip(starts.tolist(), crops.tolist(), strict=True)))
        order = sorted(counts)
        columns = [[name] * len(order), order, [counts[start] for start in order]]
        parts.append(pa.Table.from_arrays(list(map(pa.array, columns, SCHEMA.types)), schema=SCHEMA))
    return pa.concat_tables(parts).combine_chunks()


def _times(connection: sqlite3.Connection, model: int, camera: int) -> Iterator[Int64Array]:
    """Yield the known times of a camera's crops in order, `READ_FILES` files at a time."""
    cursor = connection.execute("SELECT times FROM presence WHERE model = ? AND camera = ?", (model, camera))
    while rows := cursor.fetchmany(READ_FILES):
        yield np.sort(np.frombuffer(b"".join(times for (times,) in rows), np.int64))


def _samples(
    connection: sqlite3.Connection, model: int, camera: int, first: int | None, last: int | None
) -> tuple[str, ...]:
    query = "SELECT crop FROM sighting WHERE model = ? AND camera = ? AND {} ORDER BY time, crop LIMIT ?"
    if first is None or last is None:
        rows = connection.execute(query.format("time IS NULL"), (model, camera, SAMPLES)).fetchall()
    else:
        # Sightings start before their last crop, so that none may start at or after `last`.
        times = [first + (last - first) * step // SAMPLES for step in range(SAMPLES)]
        rows = [connection.execute(query.format("time >= ?"), (model, camera, at, 1)).fetchone() for at in times]
    return tuple(dict.fromkeys(row[0].hex() for row in rows if row is not None))
