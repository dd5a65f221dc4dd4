"""Bring the vector index of a model up to date: the visible crops are packed, and their descriptors summed by camera.

A unit is a crop file, or some thousand rows of a long one. A pack has units of several files. New units make a new
pack; small packs are made again together with them, so that there are few packs and a row is packed a few times at
most. Each step is one transaction. A process that dies leaves an incomplete index, never a wrong one.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vestigo.ranking.camera_bias import CameraSums, sum_by_camera
from vestigo.store.crops.repository import CropRepository
from vestigo.store.crops.visible import VisibleFile
from vestigo.store.faults import fault_point
from vestigo.store.index_file import IndexFile, derived_folder
from vestigo.store.models.records import Model
from vestigo.store.parquet.descriptors import descriptors_of
from vestigo.store.parquet.schemas import EMBEDDING
from vestigo.vectors.pack import COLUMNS, pack_table, write_pack
from vestigo_models.arrays import Float64Array
from vestigo_models.errors import StoreError
from vestigo_models.progress import ProgressCallback

PACK_ROWS = 1 << 14
"""Rows of a pack, at most."""
_VERSION = 1
_TABLES = """
CREATE TABLE pack (name TEXT PRIMARY KEY, model TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
  modified INTEGER NOT NULL);
CREATE TABLE unit (pack TEXT NOT NULL, file INTEGER NOT NULL, part INTEGER NOT NULL, state TEXT NOT NULL);
CREATE INDEX unit_pack ON unit (pack);
CREATE TABLE camera_sum (pack TEXT NOT NULL, camera TEXT NOT NULL, weights BLOB NOT NULL, vectors BLOB NOT NULL);
CREATE INDEX camera_sum_pack ON camera_sum (pack);
"""


@dataclass(frozen=True)
class Unit:
    """Rows of a visible file."""

    file: VisibleFile
    part: int

    @property
    def first(self) -> int:
        """The first row."""
        return self.part * PACK_ROWS

    @property
    def rows(self) -> int:
        """The number of rows, hidden ones included."""
        return min(PACK_ROWS, self.file.rows - self.first)

    @property
    def key(self) -> tuple[int, int, str]:
        """What names the unit in the index."""
        return self.file.id, self.part, self.file.state


@dataclass(frozen=True)
class PackFile:
    """A pack in the index; `units` are the keys of its units, `rows` includes their hidden rows.

    A pack without visible rows has no file, and `bytes` is 0.
    """

    name: str
    rows: int
    bytes: int
    modified: int
    units: frozenset[tuple[int, int, str]]

    def is_intact(self, folder: Path) -> bool:
        """Whether the file of the pack is as it was written; one that was changed or copied is made again."""
        if not self.bytes:
            return True
        try:
            state = (folder / self.name).stat()
        except OSError:
            return False
        return (state.st_size, state.st_mtime_ns) == (self.bytes, self.modified)


def vectors_folder(ref: str) -> Path:
    """Return the folder of a store's vector index."""
    return derived_folder(ref) / "vectors"


def open_packs(ref: str) -> IndexFile:
    """Open the list of a store's packs, empty if there is none yet."""
    return IndexFile(vectors_folder(ref) / "packs.sqlite", _TABLES, _VERSION)


def refresh_packs(crops: CropRepository, index: IndexFile, model: Model, progress: ProgressCallback) -> list[PackFile]:
    """Bring the packs of a model up to date; return those of its visible crops, with progress in crops that are read.

    Raises:
        StoreError: If a file of the store cannot be read, or the index cannot be written; packs written before stay.
    """
    folder = index.path.parent
    done = 0
    while True:
        visible = [file for file in crops.files() if file.model == model.digest]
        with index.read() as connection:
            missing, packs = _compare(connection, folder, model.digest, visible)
            if not missing and len(packs) == len(_packs(connection, model.digest)):
                return packs
        with index.write() as connection:
            missing, packs = _compare(connection, folder, model.digest, visible)
            batch, absorbed = _next_batch(missing, packs, visible)
            outdated = {pack.name for pack in _packs(connection, model.digest)} - {pack.name for pack in packs}
            _drop(connection, outdated | {pack.name for pack in absorbed})
            if batch:
                _add(connection, folder, crops, batch, model)
            fault_point("vectors.packed")
        fault_point("vectors.step")
        _sweep(index, folder)
        added = {unit.key for unit in batch} & {unit.key for unit in missing}
        done += sum(unit.rows for unit in missing if unit.key in added)
        progress(done, done + sum(unit.rows for unit in missing if unit.key not in added))


def camera_sums(index: IndexFile, packs: Collection[PackFile]) -> dict[Hashable, CameraSums]:
    """Return the sums of the descriptors of some packs by camera.

    A tracklet has weight 1, shared by its crops, as has a crop without one.
    """
    names = {pack.name for pack in packs}
    sums: dict[Hashable, CameraSums] = {}
    with index.read() as connection:
        for name, camera, weights, vectors in connection.execute(
            "SELECT pack, camera, weights, vectors FROM camera_sum"
        ):
            if name in names:
                part = CameraSums(weights=np.frombuffer(weights, np.int64), vectors=np.frombuffer(vectors, np.int64))
                sums[camera] = sums[camera] + part if camera in sums else part
    return sums


def _packs(connection: Connection, model: str) -> list[PackFile]:
    units: dict[str, list[tuple[int, int, str]]] = {}
    for pack, *unit in connection.execute("SELECT pack, file, part, state FROM unit"):
        units.setdefault(pack, []).append((unit[0], unit[1], unit[2]))
    rows = connection.execute("SELECT name, rows, bytes, modified FROM pack WHERE model = ? ORDER BY name", (model,))
    return [
        PackFile(name, count, size, modified, frozenset(units.get(name, ()))) for name, count, size, modified in rows
    ]


def _compare(
    connection: Connection, folder: Path, model: str, visible: Sequence[VisibleFile]
) -> tuple[list[Unit], list[PackFile]]:
    """Return the units that no pack has, and the packs whose units are all visible and whose files are intact."""
    units = {unit.key: unit for file in visible for unit in _units(file)}
    packs = [
        pack
        for pack in _packs(connection, model)
        if pack.units and pack.units <= units.keys() and pack.is_intact(folder)
    ]
    packed = {key for pack in packs for key in pack.units}
    return [unit for key, unit in units.items() if key not in packed], packs


def _units(file: VisibleFile) -> list[Unit]:
    return [Unit(file, part) for part in range(-(-file.rows // PACK_ROWS))]


def _next_batch(
    missing: Sequence[Unit], packs: Iterable[PackFile], visible: Sequence[VisibleFile]
) -> tuple[list[Unit], list[PackFile]]:
    """Return the units of the next pack, and the packs that it replaces: those that are not larger than what is new."""
    batch: list[Unit] = []
    rows = 0
    for unit in missing:
        if batch and rows + unit.rows > PACK_ROWS:
            return batch, []
        batch.append(unit)
        rows += unit.rows
    known = {unit.key: unit for file in visible for unit in _units(file)}
    absorbed: list[PackFile] = []
    for pack in sorted(packs, key=lambda pack: (pack.rows, pack.name)):
        if not batch or pack.rows > rows or rows + pack.rows > PACK_ROWS:
            break
        absorbed.append(pack)
        batch += [known[key] for key in sorted(pack.units)]
        rows += pack.rows
    return sorted(batch, key=lambda unit: unit.key), absorbed


def _add(connection: Connection, folder: Path, crops: CropRepository, batch: Sequence[Unit], model: Model) -> None:
    tables = []
    sums: dict[Hashable, CameraSums] = {}
    for unit in batch:
        tables.append(_read(crops, unit))
        for camera, more in _sum(crops, unit, tables[-1], model).items():
            sums[camera] = sums[camera] + more if camera in sums else more
    table = pa.concat_tables(tables)
    name = f"{secrets.token_hex(8)}.arrow"
    size = modified = 0
    # Replaced inputs may have hidden all rows.
    if table.num_rows:
        try:
            state = write_pack(folder / name, pack_table(table, model))
        except OSError as error:
            raise StoreError(
                f"vector index {folder} cannot be written: {error.strerror}; it takes as much disk as the descriptors"
            ) from error
        size, modified = state.st_size, state.st_mtime_ns
    fault_point("vectors.written")
    rows = sum(unit.rows for unit in batch)
    connection.execute("INSERT INTO pack VALUES (?, ?, ?, ?, ?)", (name, model.digest, rows, size, modified))
    connection.executemany("INSERT INTO unit VALUES (?, ?, ?, ?)", [(name, *unit.key) for unit in batch])
    of_cameras = [(name, camera, part.weights.tobytes(), part.vectors.tobytes()) for camera, part in sums.items()]
    connection.executemany("INSERT INTO camera_sum VALUES (?, ?, ?, ?)", of_cameras)


def _drop(connection: Connection, names: Iterable[str]) -> None:
    for name in names:
        connection.execute("DELETE FROM pack WHERE name = ?", (name,))
        connection.execute("DELETE FROM unit WHERE pack = ?", (name,))
        connection.execute("DELETE FROM camera_sum WHERE pack = ?", (name,))


def _sweep(index: IndexFile, folder: Path) -> None:
    """Delete files that are of no pack; a process that has mapped one keeps it. Packs are written in a transaction."""
    with index.write() as connection:
        known = {name for (name,) in connection.execute("SELECT name FROM pack")}
        for path in folder.glob("*.arrow*"):
            if path.name not in known:
                path.unlink(missing_ok=True)


def _read(crops: CropRepository, unit: Unit) -> pa.Table:
    """Return `COLUMNS` of the visible rows of a unit, and their file and place."""
    table = crops.read_file(unit.file, COLUMNS, unit.first, unit.rows)
    places = np.arange(unit.first, unit.first + table.num_rows)
    table = table.append_column("file", pa.array(np.full(table.num_rows, unit.file.id)))
    table = table.append_column("place", pa.array(places))
    if unit.file.hidden:
        hidden = pa.array(sorted(unit.file.hidden), pa.string())
        table = table.filter(pc.invert(pc.is_in(table.column("input"), hidden)))
    return table


def _sum(crops: CropRepository, unit: Unit, table: pa.Table, model: Model) -> dict[Hashable, CameraSums]:
    """Sum the descriptors of a unit by camera; the weights of its crops depend on the whole file."""
    if not table.num_rows:
        return {}
    tracklets = table.column("tracklet")
    if unit.rows < unit.file.rows:
        batches = crops.scan_file(unit.file, ("tracklet",))
        tracklets = pa.chunked_array([batch.column(0) for batch in batches], pa.string())
    lengths = tracklets.value_counts()
    weights = _weights(table.column("tracklet"), lengths.field("values"), lengths.field("counts").to_numpy())
    embeddings, visible = (table.column(name).combine_chunks() for name in (EMBEDDING, "visible"))
    descriptors = descriptors_of(embeddings, visible, model.facts)
    return sum_by_camera(descriptors, weights, table.column("camera").combine_chunks())


def _weights(tracklets: pa.ChunkedArray, names: pa.Array, counts: Sequence[int]) -> Float64Array:
    lengths = np.asarray(counts)[pc.index_in(tracklets, names).to_numpy()]
    return np.where(pc.equal(tracklets, "").to_numpy(), 1.0, 1.0 / lengths)
