"""Bring the browse index up to date: new files are read, files that are no longer visible are dropped."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from vestigo.sightings.grouping import COLUMNS, ID_BYTES, NO_PID, UNKNOWN, GroupedCrops, group_crops
from vestigo.store.crops.visible import VisibleFile
from vestigo.store.faults import fault_point
from vestigo.store.index_file import IndexFile
from vestigo.store.open import Store
from vestigo_models.arrays import Int64Array
from vestigo_models.progress import ProgressCallback

BATCH_ROWS = 1 << 16
"""Crops that one transaction adds, at least one file: pages that several files touch are written once."""


def refresh_index(store: Store, index: IndexFile, progress: ProgressCallback) -> bool:
    """Bring the index up to date with the visible files; return whether it changed.

    Each step is one transaction that reads the catalogue anew. Several processes therefore share the work, and a
    process that dies leaves an incomplete index, never a wrong one. Memory is that of one file's columns.
    """
    changed = False
    while True:
        with index.write() as connection:
            visible = store.crops.files()
            dropped = _drop(connection, visible)
            outdated = outdated_files(connection, visible)
            batch = list(first_batch(outdated))
            schemas = {model.digest: model.facts.attributes for model in store.models.list()}
            for file in batch:
                rows = group_crops(store.crops.read_file(file, COLUMNS), file.hidden, schemas[file.model])
                _add(connection, file, rows)
                fault_point("browse.file")
        fault_point("browse.step")
        if batch:
            progress(len(visible) - len(outdated) + len(batch), len(visible))
        changed = changed or dropped or bool(batch)
        if len(batch) == len(outdated):
            return changed


def outdated_files(connection: sqlite3.Connection, visible: Iterable[VisibleFile]) -> list[VisibleFile]:
    """Return the files that the index lacks, or holds in an older state."""
    known = dict(connection.execute("SELECT id, state FROM file"))
    return [file for file in visible if known.get(file.id) != file.state]


def first_batch(files: Sequence[VisibleFile]) -> Iterator[VisibleFile]:
    """Yield the files, at least one, that one transaction adds."""
    rows = 0
    for file in files:
        if rows and rows + file.rows > BATCH_ROWS:
            return
        rows += file.rows
        yield file


def _drop(connection: sqlite3.Connection, visible: Iterable[VisibleFile]) -> bool:
    states = {file.id: file.state for file in visible}
    columns = "SELECT id, state, first_sighting, sightings, first_crop, crops FROM file"
    dropped = [row for row in connection.execute(columns) if states.get(row[0]) != row[1]]
    for file, _, sighting, sightings, crop, crops in dropped:
        connection.execute("DELETE FROM crop WHERE number >= ? AND number < ?", (crop, crop + crops))
        connection.execute("DELETE FROM sighting WHERE id >= ? AND id < ?", (sighting, sighting + sightings))
        connection.execute("DELETE FROM presence WHERE file = ?", (file,))
        connection.execute("DELETE FROM file WHERE id = ?", (file,))
    fault_point("browse.dropped")
    return bool(dropped)


def _add(connection: sqlite3.Connection, file: VisibleFile, rows: GroupedCrops) -> None:
    model = _number(connection, "model", "digest", file.model)
    cameras = [_number(connection, "camera", "name", name) for name in rows.cameras]
    # Numbers of sightings are never reused: a stale number selects no other person.
    sighting = _next(connection, "SELECT max(seq) FROM sqlite_sequence WHERE name = 'sighting'")
    crop = _next(connection, "SELECT max(number) FROM crop")
    sightings, crops = len(rows.starts), len(rows.ids)
    counts = np.diff(rows.starts, append=crops)
    raw = rows.ids.tobytes()
    ids = [raw[start : start + ID_BYTES] for start in range(0, len(raw), ID_BYTES)]
    connection.execute(
        "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?)", (file.id, file.state, model, sighting, sightings, crop, crops)
    )
    camera_sightings = np.bincount(rows.camera[rows.starts], minlength=len(cameras)).tolist()
    for number, camera in enumerate(cameras):
        times = rows.time[rows.camera == number]
        known = np.sort(times[times != UNKNOWN])
        span = (int(known[0]), int(known[-1])) if len(known) else (None, None)
        row = (file.id, model, camera, len(times), camera_sightings[number], *span, known.tobytes())
        connection.execute("INSERT INTO presence VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, rows.histograms[number]))
    of_sighting = zip(
        range(sighting, sighting + sightings),
        (cameras[number] for number in rows.camera[rows.starts].tolist()),
        _optional(rows.time[rows.starts], UNKNOWN),
        # SQLite stores NaN as null.
        rows.offset_s.tolist(),
        rows.tracklet,
        _optional(rows.pid, NO_PID),
        (ids[best] for best in rows.best.tolist()),
        (crop + rows.starts).tolist(),
        counts.tolist(),
        map(bytes, rows.classes),
        (row.tobytes() for row in rows.confidence),
        strict=True,
    )
    connection.executemany(
        f"INSERT INTO sighting VALUES (?, {file.id}, {model}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", of_sighting
    )
    numbers = np.repeat(np.arange(sighting, sighting + sightings), counts)
    of_crop = zip(
        range(crop, crop + crops), ids, numbers.tolist(), rows.place.tolist(), rows.scene.tolist(), strict=True
    )
    connection.executemany("INSERT INTO crop VALUES (?, ?, ?, ?, ?)", of_crop)


def _number(connection: sqlite3.Connection, table: str, column: str, value: str) -> int:
    connection.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (value,))
    return int(connection.execute(f"SELECT id FROM {table} WHERE {column} = ?", (value,)).fetchone()[0])


def _next(connection: sqlite3.Connection, newest: str) -> int:
    return (connection.execute(newest).fetchone()[0] or 0) + 1


def _optional(values: Int64Array, missing: int) -> list[Any]:
    return [None if value == missing else value for value in values.tolist()]
