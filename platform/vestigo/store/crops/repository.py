"""Crops and label maps in the store: scanned, selected, or read by id."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa
from sqlalchemy.orm import Session

from vestigo.store.crops.cameras import known_cameras, match_cameras
from vestigo.store.crops.reader import CropReader, rows_at, rows_with_ids
from vestigo.store.crops.visible import (
    ALL_CROPS,
    CropFilter,
    CropSelection,
    VisibleFile,
    clock_offsets,
    crop_files,
    current_snapshot,
    current_state,
)
from vestigo.store.parquet.files import GROUP_ROWS, DataRoot, rechunk
from vestigo.store.parquet.schemas import CROP_COLUMNS, REGIONS, completed
from vestigo.store.runs.rows import run_row, visible_files
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, RunRow
from vestigo_models.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

SCAN_ROWS = 16384


@dataclass(frozen=True)
class CropRepository:
    """The visible crops of a store.

    Columns are those of `vestigo.store.parquet.schemas.CROP_COLUMNS`, and `model` (digest) and `run` on request. Times
    are the recorded times plus the clock offset of their camera. Methods raise `StoreError` for an unknown column,
    crop, model or run.
    """

    database: Database
    root: DataRoot

    def __call__(
        self, columns: Sequence[str] | None = None, *, model: str | None = None, **selection: Unpack[CropSelection]
    ) -> pd.DataFrame:
        """Return the visible crops as a DataFrame, all columns but `image` and `embedding` by default; see `scan`."""
        names = [name for name in CROP_COLUMNS if name not in ("image", "embedding")] if columns is None else columns
        batches = list(self.scan(names, model=model, **selection))
        empty = pa.table({name: pa.array([], pa.null()) for name in names})
        frame: pd.DataFrame = (pa.Table.from_batches(batches) if batches else empty).to_pandas()
        return frame

    def scan(
        self,
        columns: Sequence[str],
        *,
        model: str | None = None,
        batch_rows: int = SCAN_ROWS,
        **selection: Unpack[CropSelection],
    ) -> Iterator[pa.RecordBatch]:
        """Yield the visible crops, of one model or all, those of the newest first; memory is one batch.

        Raises:
            StoreError: If a column, a camera or the model is unknown, or embeddings of several models are requested.
        """
        return self.reader(model, CropFilter(**selection)).scan(columns, batch_rows)

    def scan_run(self, run_id: str, columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield the visible crops of a run, file after file, each batch with its file's path; times as recorded."""

        def read(session: Session) -> list[VisibleFile]:
            run_row(session, run_id)
            return [file for file in crop_files(session) if file.run == run_id]

        for file in self.database.fetch(read):
            for batch in self.scan_file(file, columns):
                yield file.path, batch

    def scan_file(self, file: VisibleFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the visible crops of a file; times as recorded."""
        return CropReader(self.root, [file], {}).scan(columns, GROUP_ROWS)

    def select(self, ids: Collection[str], columns: Sequence[str], *, model: str) -> Iterator[pa.RecordBatch]:
        """Yield the crops of a model that are visible and among `ids`, in the order of `scan`; others are not read."""
        return self.reader(model).select(ids, columns)

    def get(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Return crops in the order of `ids`, with `crop_id`, `model` and `columns` (all by default).

        Without `model`, a crop that several models have is that of the newest. `StoreError` if a crop is not visible.
        """
        return self.reader(model).get(ids, CROP_COLUMNS if columns is None else columns)

    def get_at(self, positions: Mapping[int, Sequence[int]], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return crops by id, with `crop_id`, `model` and `columns`; crops that are no longer visible are omitted.

        `positions` are row numbers by `VisibleFile.id`.
        """
        return self.reader(files=positions).get_at(positions, columns)

    def files(self) -> list[VisibleFile]:
        """Return the files with visible crops, those of the newest model first."""
        return self.database.fetch(crop_files)

    def read_file(
        self, file: VisibleFile, columns: Sequence[str], first: int = 0, count: int | None = None
    ) -> pa.Table:
        """Return columns of the rows of a file, hidden rows included, in their order; times as recorded.

        With `count`, of so many rows from row `first` on.
        """
        if count is None or count >= file.rows:
            batches = self.root.read(file.path, columns)
        else:
            batches = rows_at(self.root, file.path, range(first, first + count), columns)
        return pa.Table.from_batches([completed(batch, columns) for batch in batches])

    def snapshot(self) -> str:
        """Return the SHA-256 that names the visible crops and clock offsets, read from the catalogue alone."""
        return self.database.fetch(current_snapshot)

    def reader(
        self, model: str | None = None, crop_filter: CropFilter = ALL_CROPS, files: Collection[int] | None = None
    ) -> CropReader:
        """Return a reader of the crops that are visible now; see `vestigo.store.crops.visible.crop_files`."""

        def read(session: Session) -> CropReader:
            known = _with_known_cameras(session, crop_filter)
            return CropReader(self.root, crop_files(session, model, known, files), clock_offsets(session), known)

        return self.database.fetch(read)

    def resolve(self, crop_filter: CropFilter) -> CropFilter:
        """Return a filter with the names of cameras as the store has them."""
        return self.database.fetch(lambda session: _with_known_cameras(session, crop_filter))

    def clock_offsets(self) -> Mapping[str, timedelta]:
        """Return the clock offsets that are not 0, by camera."""
        return self.database.fetch(clock_offsets)

    def state(self) -> str:
        """Return a text that changes with the visible crops and the clock offsets; it is read faster than `snapshot`.

        It is valid for one store, and names neither contents nor models.
        """
        return self.database.fetch(current_state)


def _with_known_cameras(session: Session, crop_filter: CropFilter) -> CropFilter:
    if crop_filter.cameras is None:
        return crop_filter
    names = [crop_filter.cameras] if isinstance(crop_filter.cameras, str) else crop_filter.cameras
    return replace(crop_filter, cameras=match_cameras(names, known_cameras(session)))


@dataclass(frozen=True)
class RegionRepository:
    """The visible label maps of a store.

    Label maps under one fingerprint (parser, model, settings and crops) are read together, those of different
    fingerprints never. `run` names the run with the fingerprint, by default the newest run that left label maps.
    Methods raise `StoreError` for an unknown run or column, and if the store holds no label maps.
    """

    database: Database
    root: DataRoot

    def scan(self, columns: Sequence[str] | None = None, *, run: str | None = None) -> Iterator[pa.RecordBatch]:
        """Yield label maps with some columns of `vestigo.store.parquet.schemas.REGIONS`, or all."""
        columns = list(REGIONS.names if columns is None else columns)
        if unknown := [name for name in columns if name not in REGIONS.names]:
            raise StoreError(f"label maps have no column {unknown[0]}; the columns are {', '.join(REGIONS.names)}")
        batches = (batch for path in self._paths(run) for batch in self.root.read(path, columns))
        yield from rechunk(batches, GROUP_ROWS)

    def get(self, ids: Sequence[str], *, run: str | None = None) -> dict[str, dict[str, Any]]:
        """Return label maps by crop id, with the columns of `REGIONS`; without crops that have none."""
        rows: dict[str, dict[str, Any]] = {}
        for path in self._paths(run):
            missing = set(ids) - rows.keys()
            if not missing:
                break
            for batch in rows_with_ids(self.root, path, pa.array(sorted(missing), pa.string()), REGIONS.names):
                rows.update((row["crop_id"], row) for row in batch.to_pylist())
        return {crop_id: rows[crop_id] for crop_id in ids if crop_id in rows}

    def _paths(self, run_id: str | None) -> list[str]:
        order = RunRow.created.desc(), RunRow.id.desc(), DataFileRow.id.desc()

        def read(session: Session) -> list[str]:
            if run_id is not None:
                fingerprint = run_row(session, run_id).fingerprint
            else:
                fingerprint = session.scalar(visible_files("regions", RunRow.fingerprint).order_by(*order).limit(1))
            if fingerprint is None:
                raise StoreError("the store holds no label maps: `vestigo regions RUN --store` makes those of a run")
            paths = visible_files("regions", DataFileRow.path).where(RunRow.fingerprint == fingerprint)
            return list(session.scalars(paths.order_by(*order)))

        return self.database.fetch(read)
