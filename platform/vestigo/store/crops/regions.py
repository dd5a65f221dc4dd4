"""Label maps in the store: scanned, or read by crop id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vestigo.store.crops.reader import rows_with_ids
from vestigo.store.parquet.files import GROUP_ROWS, DataRoot, rechunk
from vestigo.store.parquet.schemas import REGIONS
from vestigo.store.runs.rows import run_row, visible_files
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, RunRow
from vestigo_models.errors import StoreError


@dataclass(frozen=True)
class RegionRepository:
    """The visible label maps of a store.

    Label maps under one fingerprint (parser, model, settings and crops) are read together, those of different
    fingerprints never. `run` names the run with the fingerprint, by default the newest run that left label maps.
    Methods raise `StoreError` for an unknown run or column, and if the store holds no label maps.
    """

    database: Database
    root: DataRoot

    def scan(
        self, columns: Sequence[str] | None = None, *, run: str | None = None, batch_rows: int = GROUP_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield label maps, `batch_rows` at a time; columns of `vestigo.store.parquet.schemas.REGIONS`, or all."""
        columns = list(REGIONS.names if columns is None else columns)
        if unknown := [name for name in columns if name not in REGIONS.names]:
            raise StoreError(f"label maps have no column {unknown[0]}; the columns are {', '.join(REGIONS.names)}")
        batches = (batch for path in self._paths(run) for batch in self.root.read(path, columns))
        yield from rechunk(batches, batch_rows)

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
        with self.database.read() as session:
            if run_id is not None:
                fingerprint = run_row(session, run_id).fingerprint
            else:
                fingerprint = session.scalar(visible_files("regions", RunRow.fingerprint).order_by(*order).limit(1))
            if fingerprint is None:
                raise StoreError("the store holds no label maps: `vestigo regions RUN --store` makes those of a run")
            paths = visible_files("regions", DataFileRow.path).where(RunRow.fingerprint == fingerprint)
            return list(session.scalars(paths.order_by(*order)))
