"""Reader of visible crops: scans in batches, looks up by id or position, and corrects times by clock offsets."""

import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vestigo.store.crops.visible import ALL_CROPS, CropFilter, VisibleFile
from vestigo.store.parquet.files import DataRoot, rechunk
from vestigo.store.parquet.read_ahead import read_ahead
from vestigo.store.parquet.schemas import CROP_COLUMNS, EMBEDDING, SINCE_2, completed
from vestigo_models.arrays import BoolArray, Int64Array
from vestigo_models.errors import StoreError

READERS = 8
"""Files that a look-up opens at a time; it waits for the disk, not for the processor."""
SCANNERS = min(4, os.cpu_count() or 1)
"""Files that a scan reads at a time; it waits for the processor, which decodes descriptors."""
BUFFERED = 4
"""Row groups of each such file that are read ahead."""
DECODED_ROWS = 64
"""Rows that a look-up by position decodes at a time."""
ALL_COLUMNS = (*CROP_COLUMNS, "model", "run")


@dataclass(frozen=True)
class CropReader:
    """Reads the crops of `files` that `crop_filter` admits; `offsets` are the clock offsets by camera.

    Methods raise `StoreError` for an unknown column or crop, and for embeddings of several models.
    """

    root: DataRoot
    files: Sequence[VisibleFile]
    offsets: Mapping[str, timedelta]
    crop_filter: CropFilter = ALL_CROPS

    def scan(self, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield rows, file after file, `batch_rows` at a time; memory is one batch and a few row groups."""
        _require_known(columns)
        models = sorted({file.model for file in self.files})
        if EMBEDDING in columns and len(models) > 1:
            raise StoreError(f"the store holds crops of several models ({', '.join(models)}): name one of them")
        sources = (partial(self._batches, file, columns, partial(self.root.read, file.path)) for file in self.files)
        return rechunk(read_ahead(sources, readers=SCANNERS, buffered=BUFFERED), batch_rows)

    def select(self, ids: Collection[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of crop ids, file after file; only the row groups that hold them are read."""
        _require_known(columns)
        return self._with_ids(self.files, ids, columns)

    def get(self, ids: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of crop ids in their order; of a crop in several files the first file's row."""
        _require_known(columns)
        columns = list(dict.fromkeys(("crop_id", "model", *columns)))
        rows: dict[str, dict[str, Any]] = {}
        for start in range(0, len(self.files), 8 * READERS):
            missing = set(ids) - rows.keys()
            if not missing:
                break
            for batch in self._with_ids(self.files[start : start + 8 * READERS], missing, columns):
                for row in batch.to_pylist():
                    rows.setdefault(row["crop_id"], row)
        return in_order(ids, rows)

    def get_at(self, positions: Mapping[int, Sequence[int]], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return rows by crop id, read at `positions`: row numbers by id of file."""
        _require_known(columns)
        columns = list(dict.fromkeys(("crop_id", "model", *columns)))

        def read(file: VisibleFile, needed: Sequence[str]) -> Iterator[pa.RecordBatch]:
            return rows_at(self.root, file.path, positions[file.id], needed)

        files = [file for file in self.files if file.id in positions]
        batches = self._look_up(files, columns, read)
        return {row["crop_id"]: row for batch in batches for row in batch.to_pylist()}

    def _with_ids(
        self, files: Sequence[VisibleFile], ids: Collection[str], columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        wanted = pa.array(sorted(set(ids)), pa.string())
        return self._look_up(files, columns, lambda file, needed: rows_with_ids(self.root, file.path, wanted, needed))

    def _look_up(
        self,
        files: Sequence[VisibleFile],
        columns: Sequence[str],
        read: Callable[[VisibleFile, Sequence[str]], Iterable[pa.RecordBatch]],
    ) -> Iterator[pa.RecordBatch]:
        """Yield the visible rows that `read` returns, file after file; several files are read at a time."""
        with ThreadPoolExecutor(READERS) as pool:
            for batches in pool.map(lambda file: list(self._batches(file, columns, partial(read, file))), files):
                yield from batches

    def _batches(
        self, file: VisibleFile, columns: Sequence[str], read: Callable[[Sequence[str]], Iterable[pa.RecordBatch]]
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield `columns` of the visible rows among those that `read` returns for the columns that are needed."""
        needed = self._needed_columns(columns, file)
        constants = {"model": file.model, "run": file.run}
        for batch in read(needed):
            rows = self._visible(completed(batch, needed), file)
            if not rows.num_rows:
                continue
            arrays = [
                pa.array([constants[name]] * rows.num_rows, pa.string()) if name in constants else rows.column(name)
                for name in columns
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _needed_columns(self, columns: Sequence[str], file: VisibleFile) -> list[str]:
        """Return the columns to read; at least one that every version of the file has, for its length."""
        needed = [name for name in columns if name in CROP_COLUMNS]
        if not set(needed) - set(SINCE_2.names):
            needed.append("crop_id")
        if file.hidden:
            needed.append("input")
        if self.crop_filter.since is not None or self.crop_filter.until is not None:
            needed.append("time")
        if self.crop_filter.cameras is not None or ("time" in needed and self.offsets):
            needed.append("camera")
        return list(dict.fromkeys(needed))

    def _visible(self, batch: pa.RecordBatch, file: VisibleFile) -> pa.RecordBatch:
        """Return the visible rows that the filter admits, with corrected times."""
        if "time" in batch.schema.names and self.offsets:
            index = batch.schema.get_field_index("time")
            batch = batch.set_column(index, batch.schema.field("time"), _corrected_times(batch, self.offsets))
        keep = np.ones(batch.num_rows, bool)
        if file.hidden:
            keep &= ~_is_in(batch.column("input"), file.hidden)
        if self.crop_filter.cameras is not None:
            keep &= _is_in(batch.column("camera"), self.crop_filter.cameras)
        bounds = ((self.crop_filter.since, pc.greater_equal), (self.crop_filter.until, pc.less))
        for bound, compare in bounds:
            if bound is not None:
                inside = compare(batch.column("time"), pa.scalar(bound, pa.timestamp("us", tz="UTC")))
                keep &= inside.fill_null(False).to_numpy(zero_copy_only=False)
        return batch if keep.all() else batch.filter(pa.array(keep))


def rows_with_ids(root: DataRoot, path: str, ids: pa.Array, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file with some crop ids, in its order; other row groups are not read."""

    def read() -> Iterator[pa.RecordBatch]:
        with closing(root.open(path)) as parquet:
            hits = pc.is_in(parquet.read(["crop_id"], use_threads=False).column(0), ids).to_numpy()
            for group, first, end in _row_groups(parquet):
                if hits[first:end].any():
                    rows = parquet.read_row_group(group, list(columns), use_threads=False)
                    yield from rows.filter(pa.array(hits[first:end])).to_batches()

    return root.resumed(read)


def rows_at(root: DataRoot, path: str, numbers: Sequence[int], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file with some numbers, in its order; a row group is read up to the last of them."""
    wanted = np.unique(np.asarray(numbers, np.int64))

    def read() -> Iterator[pa.RecordBatch]:
        with closing(root.open(path)) as parquet:
            for group, first, end in _row_groups(parquet):
                inside = wanted[(wanted >= first) & (wanted < end)] - first
                if len(inside):
                    # Several files are read at a time already.
                    batches = parquet.iter_batches(
                        DECODED_ROWS, row_groups=[group], columns=list(columns), use_threads=False
                    )
                    yield from _take(batches, inside)

    return root.resumed(read)


def _row_groups(parquet: pq.ParquetFile) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each row group, and its first and last row, excluded."""
    sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    for group, end in enumerate(accumulate(sizes)):
        yield group, end - sizes[group], end


def in_order(ids: Sequence[str], rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows, given by crop id, in the order of `ids`; raise `StoreError` if a crop is missing."""
    if unknown := [crop_id for crop_id in ids if crop_id not in rows]:
        raise StoreError(f"crop {unknown[0]} is not in the store: `vestigo search` names crops that are")
    return [rows[crop_id] for crop_id in ids]


def _take(batches: Iterable[pa.RecordBatch], numbers: Int64Array) -> Iterator[pa.RecordBatch]:
    """Yield rows by their ascending numbers over all batches."""
    first = 0
    for batch in batches:
        end = first + batch.num_rows
        inside = numbers[(numbers >= first) & (numbers < end)]
        if len(inside):
            yield batch.take(pa.array(inside - first))
        if numbers[-1] < end:
            return
        first = end


def _require_known(columns: Collection[str]) -> None:
    if unknown := [name for name in columns if name not in ALL_COLUMNS]:
        raise StoreError(f"crops have no column {unknown[0]}; the columns are {', '.join(ALL_COLUMNS)}")


def _corrected_times(batch: pa.RecordBatch, offsets: Mapping[str, timedelta]) -> pa.Array:
    cameras = sorted(offsets)
    shifts = pa.array([*(offsets[camera] for camera in cameras), timedelta()], pa.duration("us"))
    indices = pc.index_in(batch.column("camera"), pa.array(cameras, pa.string())).fill_null(len(cameras))
    return pc.add(batch.column("time"), shifts.take(indices))


def _is_in(column: pa.Array, values: Collection[str]) -> BoolArray:
    mask: BoolArray = pc.is_in(column, pa.array(sorted(values), pa.string())).to_numpy(zero_copy_only=False)
    return mask
