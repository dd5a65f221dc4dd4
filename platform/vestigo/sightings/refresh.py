"""Bringing the index up to date: files that are new are read, those that are no longer visible are dropped."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from vestigo.sightings.database import IndexFile
from vestigo.sightings.grouping import COLUMNS, ID_BYTES, NOBODY, UNKNOWN, Grouped, Integers, grouped
from vestigo.store.crops.visible import VisibleFile
from vestigo.store.faults import fault_point
from vestigo.store.open import Store

BATCH_ROWS = 1 << 16
"""Crops that one transaction adds, one file at least: pages that several files touch are written once."""


def refresh(store: Store, index: IndexFile, progress: Callable[[int, int], None]) -> bool:
    """Make the index that of the visible files; return whether it was not; `progress` hears of files done and in all.

    Each step is one transaction that begins with what the catalogue says then, so that several processes share the
    work, and one that dies leaves a smaller index and no wrong one. Memory is that of one file's columns.
    """
    changed = False
    while True:
        with index.write() as connection:
            visible = store.crops.files()
            dropped = _drop(connection, visible)
            new = unread(connection, visible)
            some = list(_portion(new))
            schemas = {model.digest: model.facts.attributes for model in store.models.list()}
            for file in some:
                rows = grouped(store.crops.read_file(file, COLUMNS), file.hidden, schemas[file.model])
                _add(connection, file, rows)
                fault_point("browse.file")
        fault_point("browse.step")
        if some:
            progress(len(visible) - len(new) + len(some), len(visible))
        changed = changed or dropped or bool(some)
        if len(some) == len(new):
            return changed


def unread(connection: sqlite3.Connection, visible: Iterable[VisibleFile]) -> list[VisibleFile]:
    """Return the files that are not in the index as they are now."""
    known = dict(connection.execute("SELECT id, state FROM file"))
    return [file for file in visible if known.get(file.id) != _state(file)]


def _state(file: VisibleFile) -> str:
    """What makes a file another one for the index; its path is never used twice, its hidden inputs become more."""
    hidden = hashlib.sha256("\0".join(sorted(file.hidden)).encode()).hexdigest() if file.hidden else ""
    return f"{file.path} {hidden}"


def _portion(files: Sequence[VisibleFile]) -> Iterator[VisibleFile]:
    rows = 0
    for file in files:
        if rows and rows + file.rows > BATCH_ROWS:
            return
        rows += file.rows
        yield file


def _drop(connection: sqlite3.Connection, visible: Iterable[VisibleFile]) -> bool:
    wanted = {file.id: _state(file) for file in visible}
    columns = "SELECT id, state, first_sighting, sightings, first_crop, crops FROM file"
    gone = [row for row in connection.execute(columns) if wanted.get(row[0]) != row[1]]
    for file, _, sighting, sightings, crop, crops in gone:
        connection.execute("DELETE FROM crop WHERE number >= ? AND number < ?", (crop, crop + crops))
        connection.execute("DELETE FROM sighting WHERE id >= ? AND id < ?", (sighting, sighting + sightings))
        connection.execute("DELETE FROM presence WHERE file = ?", (file,))
        connection.execute("DELETE FROM file WHERE id = ?", (file,))
    fault_point("browse.dropped")
    return bool(gone)


def _add(connection: sqlite3.Connection, file: VisibleFile, rows: Grouped) -> None:
    model = _number(connection, "model", "digest", file.model)
    cameras = [_number(connection, "camera", "name", name) for name in rows.cameras]
    # Numbers of sightings are never used again: whoever still holds one is not shown somebody else.
    sighting = _next(connection, "SELECT max(seq) FROM sqlite_sequence WHERE name = 'sighting'")
    crop = _next(connection, "SELECT max(number) FROM crop")
    sightings, crops = len(rows.starts), len(rows.ids)
    raw = rows.ids.tobytes()
    ids = [raw[start : start + ID_BYTES] for start in range(0, len(raw), ID_BYTES)]
    connection.execute(
        "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?)",
        (file.id, _state(file), model, sighting, sightings, crop, crops),
    )
    connection.executemany(
        "INSERT INTO presence VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (file.id, model, camera, count, groups, *_ends(times), times.tobytes(), sureness)
            for camera, (count, groups, times), sureness in zip(cameras, rows.presence(), rows.sureness, strict=True)
        ),
    )
    of_sighting = zip(
        range(sighting, sighting + sightings),
        (cameras[number] for number in rows.camera[rows.starts].tolist()),
        _optional(rows.time[rows.starts], UNKNOWN),
        # SQLite stores NaN as null.
        rows.offset_s.tolist(),
        rows.tracklet,
        _optional(rows.pid, NOBODY),
        (ids[best] for best in rows.best.tolist()),
        (crop + rows.starts).tolist(),
        rows.counts.tolist(),
        map(bytes, rows.classes),
        (row.tobytes() for row in rows.sure),
        strict=True,
    )
    connection.executemany(
        f"INSERT INTO sighting VALUES (?, {file.id}, {model}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", of_sighting
    )
    numbers = np.repeat(np.arange(sighting, sighting + sightings), rows.counts)
    of_crop = zip(
        range(crop, crop + crops), ids, numbers.tolist(), rows.place.tolist(), rows.scene.tolist(), strict=True
    )
    connection.executemany("INSERT INTO crop VALUES (?, ?, ?, ?, ?)", of_crop)


def _number(connection: sqlite3.Connection, table: str, column: str, value: str) -> int:
    connection.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (value,))
    return int(connection.execute(f"SELECT id FROM {table} WHERE {column} = ?", (value,)).fetchone()[0])


def _next(connection: sqlite3.Connection, newest: str) -> int:
    return (connection.execute(newest).fetchone()[0] or 0) + 1


def _ends(times: Integers) -> tuple[int | None, int | None]:
    return (int(times[0]), int(times[-1])) if len(times) else (None, None)


def _optional(values: Integers, missing: int) -> list[Any]:
    return [None if value == missing else value for value in values.tolist()]
