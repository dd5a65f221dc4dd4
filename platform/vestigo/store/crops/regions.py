"""The store as label maps see it: the crops of a run that they are made of, and the maps that runs left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.orm import Session

from vestigo.store.crops.reader import CropReader, picked
from vestigo.store.crops.visible import Span, crop_files
from vestigo.store.models.repository import RegistryStore
from vestigo.store.parquet.files import GROUP_ROWS, rechunk
from vestigo.store.parquet.schemas import REGIONS
from vestigo.store.runs.queries import run_row
from vestigo.store.sql.tables import DataFileRow, RunRow
from vestigo_models.errors import StoreError

KIND = "regions"


class RegionStore(RegistryStore):
    """Label maps belong to the run that made them; those under one fingerprint (parser, model, settings, and how the
    crops came to be) are read together, those of different ones never."""

    def run_crops(self, run_id: str, columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield the visible crops of a run, file after file, each batch with the path of its file.

        Raises StoreError for an unknown run or column.
        """
        with self._db.read() as session:
            run_row(session, run_id)
            files = [file for file in crop_files(session) if file.run == run_id]
        for file in files:
            # Clocks do not matter here: nothing is chosen by time.
            for batch in CropReader(self._root, [file], {}).scan(columns, Span(), GROUP_ROWS):
                yield file.path, batch

    def scan_regions(
        self, columns: Sequence[str] | None = None, *, run: str | None = None, batch_rows: int = GROUP_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield label maps, `batch_rows` at a time: columns of `schema.REGIONS`, all by default.

        They are those under the fingerprint of `run`, by default of the newest run that left any. Raises StoreError
        for an unknown run or column, and where there is none.
        """
        wanted = list(REGIONS.names if columns is None else columns)
        _require_known(wanted)
        with self._db.read() as session:
            paths = region_files(session, run)
        yield from rechunk((batch for path in paths for batch in self._root.read(path, wanted)), batch_rows)

    def regions_of(self, ids: Sequence[str], *, run: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the label maps of crops as rows of `schema.REGIONS` by crop id; crops without one are left out.

        `run` and errors as in `scan_regions`.
        """
        with self._db.read() as session:
            paths = region_files(session, run)
        found: dict[str, dict[str, Any]] = {}
        for path in paths:
            missing = set(ids) - found.keys()
            if not missing:
                break
            for batch in picked(self._root, path, sorted(missing), REGIONS.names):
                found.update((row["crop_id"], row) for row in batch.to_pylist())
        return {crop_id: found[crop_id] for crop_id in ids if crop_id in found}


def region_files(session: Session, run_id: str | None) -> list[str]:
    """Return the paths of the visible label maps under a run's fingerprint, newest first; see `scan_regions`."""
    files = (
        select(DataFileRow.path, RunRow.fingerprint)
        .join(RunRow, RunRow.id == DataFileRow.run_id)
        .where(DataFileRow.kind == KIND, DataFileRow.state == "visible")
        .order_by(RunRow.created.desc(), RunRow.id.desc(), DataFileRow.id.desc())
    )
    if run_id is None:
        newest = session.execute(files.limit(1)).first()
        if newest is None:
            raise StoreError("the store holds no label maps: `vestigo regions RUN --store` makes those of a run")
        bound = newest.fingerprint
    else:
        bound = run_row(session, run_id).fingerprint
    return [path for path, _ in session.execute(files.where(RunRow.fingerprint == bound))]


def _require_known(columns: Sequence[str]) -> None:
    if unknown := [name for name in columns if name not in REGIONS.names]:
        raise StoreError(f"label maps have no column {unknown[0]}; the columns are {', '.join(REGIONS.names)}")
