"""When each camera recorded people, and how confident the model was of their attributes."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa

from vestigo.sightings.grouping import LEVELS
from vestigo.sightings.records import CameraSummary
from vestigo.sightings.selection import MICROSECOND, IndexQuery, correct_time, require_zone, to_microseconds
from vestigo_models.arrays import Int64Array
from vestigo_models.errors import UsageError

SAMPLES = 8
"""Sample crops of a camera."""
READ_FILES = 256
SCHEMA = pa.schema([("camera", pa.string()), ("start", pa.timestamp("us", tz="UTC")), ("crops", pa.int64())])


def summarize_cameras(query: IndexQuery) -> list[CameraSummary]:
    """Return the cameras that have crops of a model, by name."""
    statement = "SELECT sum(crops), sum(sightings), min(first), max(last) FROM presence WHERE model = ? AND camera = ?"
    summaries = []
    for camera, name, offset in query.cameras():
        crops, sightings, first, last = query.connection.execute(statement, (query.number, camera)).fetchone()
        summaries.append(
            CameraSummary(
                name=name,
                crops=crops,
                sightings=sightings,
                first=correct_time(first, offset),
                last=correct_time(last, offset),
                samples=_samples(query, camera, first, last),
            )
        )
    return summaries


def camera_presence(
    query: IndexQuery, bucket_s: int, cameras: Collection[str] | None, since: datetime | None, until: datetime | None
) -> pa.Table:
    """Count crops by camera and time bucket, without empty buckets.

    Buckets last `bucket_s` seconds and are counted from 1970; crops of unknown time are in none. Only recording times
    from `since` to before `until` count.

    Raises:
        UsageError: If `bucket_s` is below 1, and for times without a zone.
    """
    if bucket_s < 1:
        raise UsageError(f"a bucket of {bucket_s} seconds is too short: use at least 1")
    bounds = [None if bound is None else to_microseconds(bound) for bound in map(require_zone, (since, until))]
    step = bucket_s * 1_000_000
    parts = [SCHEMA.empty_table()]
    for camera, name, offset in query.cameras(cameras):
        counts: Counter[int] = Counter()
        for times in _times(query, camera):
            times = times + offset // MICROSECOND
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


def confidence_histograms(query: IndexQuery, cameras: Collection[str] | None) -> dict[str, Int64Array]:
    """Return attribute -> (values, `LEVELS`): crops of some cameras by predicted value and confidence level."""
    if (schema := query.schema) is None:
        return {}
    numbers = {camera for camera, _, _ in query.cameras(cameras)}
    rows = query.connection.execute("SELECT camera, histogram FROM presence WHERE model = ?", (query.number,))
    raw = b"".join(counts for camera, counts in rows if camera in numbers)
    places, counts = np.frombuffer(raw, "<u4").reshape(-1, 2).T
    total = np.bincount(places, weights=counts, minlength=schema.classes * LEVELS).astype(np.int64)
    table = total.reshape(schema.classes, LEVELS)
    return {name: table[schema.slice(name)] for name in schema.names}


def _times(query: IndexQuery, camera: int) -> Iterator[Int64Array]:
    """Yield the known times of a camera's crops in order, `READ_FILES` files at a time."""
    statement = "SELECT times FROM presence WHERE model = ? AND camera = ?"
    cursor = query.connection.execute(statement, (query.number, camera))
    while rows := cursor.fetchmany(READ_FILES):
        yield np.sort(np.frombuffer(b"".join(times for (times,) in rows), np.int64))


def _samples(query: IndexQuery, camera: int, first: int | None, last: int | None) -> tuple[str, ...]:
    statement = "SELECT crop FROM sighting WHERE model = ? AND camera = ? AND {} ORDER BY time, crop LIMIT ?"
    of_camera = query.number, camera
    if first is None or last is None:
        rows = query.connection.execute(statement.format("time IS NULL"), (*of_camera, SAMPLES)).fetchall()
    else:
        # Sightings start before their last crop, so that none may start at or after `last`.
        times = [first + (last - first) * step // SAMPLES for step in range(SAMPLES)]
        at = statement.format("time >= ?")
        rows = [query.connection.execute(at, (*of_camera, time, 1)).fetchone() for time in times]
    return tuple(dict.fromkeys(row[0].hex() for row in rows if row is not None))
