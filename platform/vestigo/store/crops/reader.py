"""Reading visible crops: scanned in batches, or looked up by id; clocks are put right on the way."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo.store.crops.visible import Span, VisibleFile
from vestigo.store.parquet.files import DataRoot, rechunk
from vestigo.store.parquet.read_ahead import read_ahead
from vestigo.store.parquet.schemas import CROP_COLUMNS, EMBEDDING, SINCE_2, completed
from vestigo_models.errors import StoreError

READERS = 8
"""Files that a look-up opens at a time; it waits for the disk, not for the processor."""
SCANNERS = min(4, os.cpu_count() or 1)
"""Files that a scan reads at a time; it waits for the processor, which decodes descriptors."""
WAITING = 4
"""Row groups of each such file that may wait to be looked at."""
FEW = 64
"""Rows that a look-up decodes at a time, so that it can stop."""
ALL_COLUMNS = (*CROP_COLUMNS, "model", "run")


@dataclass(frozen=True)
class CropReader:
    """Reads the crops of `files` with every camera's clock put right by `offsets`."""

    root: DataRoot
    files: Sequence[VisibleFile]
    offsets: Mapping[str, timedelta]

    def scan(self, columns: Sequence[str], span: Span, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `span`, file after file, `batch_rows` at a time; memory is one batch, and a few row
        groups that are read ahead.

        Raises StoreError for an unknown column, and for embeddings of several models at once.
        """
        _require_known(columns)
        models = sorted({file.model for file in self.files})
        if EMBEDDING in columns and len(models) > 1:
            raise StoreError(f"the store holds crops of several models ({', '.join(models)}): name one of them")
        sources = (partial(self._rows, file, columns, span) for file in self.files)
        return rechunk(read_ahead(sources, readers=SCANNERS, held=WAITING), batch_rows)

    def get(self, ids: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of crop ids in the order asked; of a crop in several files the first file's row.

        Raises StoreError for an unknown column, and for a crop that is not visible.
        """
        _require_known(columns)
        wanted = list(dict.fromkeys(("crop_id", "model", *columns)))
        found: dict[str, dict[str, Any]] = {}
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(self.files), 8 * READERS):
                missing = pa.array(sorted(set(ids) - found.keys()), pa.string())
                if not len(missing):
                    break
                some = self.files[start : start + 8 * READERS]
                for rows in pool.map(partial(self._matches, ids=missing, columns=wanted), some):
                    for row in rows:
                        found.setdefault(row["crop_id"], row)
        return in_order(ids, found)

    def get_at(self, positions: Mapping[int, Sequence[int]], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return by crop id the visible rows at `positions`, numbers of rows by id of file; others' files are ignored.

        Raises StoreError for an unknown column.
        """
        _require_known(columns)
        wanted = list(dict.fromkeys(("crop_id", "model", *columns)))
        here = [file for file in self.files if file.id in positions]
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(lambda file: self._at(file, positions[file.id], wanted), here))
        return {row["crop_id"]: row for rows in found for row in rows}

    def select(self, ids: Collection[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the visible rows of crops, file after file; only the row groups that hold them are read.

        Raises StoreError for an unknown column.
        """
        _require_known(columns)
        wanted = pa.array(sorted(set(ids)), pa.string())

        def read(file: VisibleFile) -> list[pa.RecordBatch]:
            needed = _needed(columns, file, Span(), self.offsets)
            found = (completed(batch, needed) for batch in _gather(self.root, file.path, wanted, needed))
            return [_select(self._shown(batch, file, Span()), columns, file) for batch in found]

        with ThreadPoolExecutor(READERS) as pool:
            for batches in pool.map(read, self.files):
                yield from batches

    def _at(self, file: VisibleFile, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        needed = _needed(columns, file, Span(), self.offsets)
        return self._to_rows(rows_at(self.root, file.path, numbers, needed), file, columns, needed)

    def _rows(self, file: VisibleFile, columns: Sequence[str], span: Span) -> Generator[pa.RecordBatch, None, None]:
        needed = _needed(columns, file, span, self.offsets)
        for batch in self.root.read(file.path, needed):
            shown = self._shown(completed(batch, needed), file, span)
            if shown.num_rows:
                yield _select(shown, columns, file)

    def _matches(self, file: VisibleFile, ids: pa.Array, columns: Sequence[str]) -> list[dict[str, Any]]:
        needed = _needed(columns, file, Span(), self.offsets)
        return self._to_rows(rows_with_ids(self.root, file.path, ids, needed), file, columns, needed)

    def _to_rows(
        self, batches: Iterable[pa.RecordBatch], file: VisibleFile, columns: Sequence[str], needed: Sequence[str]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for batch in batches:
            shown = self._shown(completed(batch, needed), file, Span())
            rows += _select(shown, columns, file).to_pylist()
        return rows

    def _shown(self, batch: pa.RecordBatch, file: VisibleFile, span: Span) -> pa.RecordBatch:
        """Return the rows that are visible and inside `span`, with corrected times."""
        if "time" in batch.schema.names and self.offsets:
            batch = _with_times(batch, _corrected(batch, self.offsets))
        keep = np.ones(batch.num_rows, bool)
        if file.hidden:
            keep &= ~_is_in(batch.column("input"), file.hidden)
        if span.cameras is not None:
            keep &= _is_in(batch.column("camera"), span.cameras)
        for bound, compare in ((span.since, pc.greater_equal), (span.until, pc.less)):
            if bound is not None:
                inside = compare(batch.column("time"), pa.scalar(bound, pa.timestamp("us", tz="UTC")))
                keep &= inside.fill_null(False).to_numpy(zero_copy_only=False)
        return batch if keep.all() else batch.filter(pa.array(keep))


def rows_with_ids(
    root: DataRoot, path: str, ids: Sequence[str] | pa.Array, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that a file has of some crops, in its order; columns that it does not have are left out."""
    wanted = ids if isinstance(ids, pa.Array) else pa.array(list(ids), pa.string())
    with closing(root.open(path)) as parquet:
        for group in range(parquet.num_row_groups):
            hit = pc.is_in(parquet.read_row_group(group, ["crop_id"]).column(0), wanted)
            # Most groups hold none of the crops: their images are never read.
            if pc.any(hit).as_py():
                yield from parquet.read_row_group(group, list(columns)).filter(hit).to_batches()


def _gather(root: DataRoot, path: str, wanted: pa.Array, columns: Sequence[str]) -> list[pa.RecordBatch]:
    """Return the rows that a file has of many crops: as `rows_with_ids`, with all ids of a file looked up at once."""
    with closing(root.open(path)) as parquet:
        hit = pc.is_in(parquet.read(["crop_id"], use_threads=False).column(0), wanted).to_numpy()
        ends = np.cumsum([parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)])
        parts = np.split(hit, ends[:-1])
        groups = [group for group, part in enumerate(parts) if part.any()]
        if not groups:
            return []
        rows = parquet.read_row_groups(groups, list(columns), use_threads=False)
        kept: list[pa.RecordBatch] = rows.filter(pa.array(np.concatenate([parts[g] for g in groups]))).to_batches()
        return kept


def rows_at(root: DataRoot, path: str, numbers: Sequence[int], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file with some numbers, in its order; of a row group only what lies before the last."""
    wanted = np.unique(np.asarray(numbers, np.int64))
    with closing(root.open(path)) as parquet:
        first = 0
        for group in range(parquet.num_row_groups):
            end = first + parquet.metadata.row_group(group).num_rows
            inside = wanted[(wanted >= first) & (wanted < end)] - first
            first = end
            if len(inside):
                # Readers work side by side already.
                batches = parquet.iter_batches(FEW, row_groups=[group], columns=list(columns), use_threads=False)
                yield from _take(batches, inside)


def _take(batches: Iterable[pa.RecordBatch], wanted: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """Yield rows by their numbers over all batches, which ascend."""
    first = 0
    for batch in batches:
        end = first + batch.num_rows
        here = wanted[(wanted >= first) & (wanted < end)]
        if len(here):
            yield batch.take(pa.array(here - first))
        if wanted[-1] < end:
            return
        first = end


def in_order(ids: Sequence[str], found: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows by crop id in the order of `ids`. Raises StoreError for a crop that was not found."""
    if unknown := [crop_id for crop_id in ids if crop_id not in found]:
        raise StoreError(f"crop {unknown[0]} is not in the store: `vestigo search` names crops that are")
    return [found[crop_id] for crop_id in ids]


def _require_known(columns: Collection[str]) -> None:
    if unknown := [name for name in columns if name not in ALL_COLUMNS]:
        raise StoreError(f"crops have no column {unknown[0]}; the columns are {', '.join(ALL_COLUMNS)}")


def _needed(columns: Sequence[str], file: VisibleFile, span: Span, offsets: Mapping[str, timedelta]) -> list[str]:
    """Return the columns to be read for those asked for; at least one that every file has, for its length."""
    needed = [name for name in columns if name in CROP_COLUMNS]
    if not set(needed) - set(SINCE_2.names):
        needed.append("crop_id")
    if file.hidden:
        needed.append("input")
    if span.since is not None or span.until is not None:
        needed.append("time")
    if span.cameras is not None or ("time" in needed and offsets):
        needed.append("camera")
    return list(dict.fromkeys(needed))


def _corrected(batch: pa.RecordBatch, offsets: Mapping[str, timedelta]) -> pa.Array:
    cameras = sorted(offsets)
    shifts = pa.array([*(offsets[camera] for camera in cameras), timedelta()], pa.duration("us"))
    which = pc.index_in(batch.column("camera"), pa.array(cameras, pa.string())).fill_null(len(cameras))
    return pc.add(batch.column("time"), shifts.take(which))


def _with_times(batch: pa.RecordBatch, times: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index("time"), batch.schema.field("time"), times)


def _is_in(column: pa.Array, values: Collection[str]) -> Any:
    return pc.is_in(column, pa.array(sorted(values), pa.string())).to_numpy(zero_copy_only=False)


def _select(batch: pa.RecordBatch, columns: Sequence[str], file: VisibleFile) -> pa.RecordBatch:
    constant = {"model": file.model, "run": file.run}
    arrays = [
        pa.array([constant[name]] * batch.num_rows, pa.string()) if name in constant else batch.column(name)
        for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))
