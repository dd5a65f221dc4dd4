"""The store: one door to crops, runs, cameras and rankings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from vestigo.store.audit.repository import AuditStore
from vestigo.store.crops import cameras
from vestigo.store.crops.reader import CropReader
from vestigo.store.crops.regions import RegionStore
from vestigo.store.crops.visible import Span, VisibleFile, clock_offsets, crop_files, snapshot
from vestigo.store.maintenance.check import check
from vestigo.store.maintenance.export import export_market, person_numbers
from vestigo.store.maintenance.vacuum import vacuum
from vestigo.store.parquet.schemas import CROP_COLUMNS, completed
from vestigo.store.rankings.repository import RankingStore
from vestigo.store.review.repository import ReviewStore
from vestigo.store.runs.records import Camera, CheckReport, ExportReport, VacuumReport

SCAN_ROWS = 16384


class Store(RegionStore, ReviewStore, RankingStore, AuditStore):
    """Everything that is remembered of one archive; safe to use from several threads and processes.

    Crop columns are those of `schema.CROP_COLUMNS`, and `model` (digest) and `run` on request. Times are read as
    recorded plus the clock offset of their camera.
    """

    def scan_crops(
        self,
        columns: Sequence[str],
        *,
        model: str | None = None,
        cameras: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch_rows: int = SCAN_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the visible crops, `batch_rows` at a time, those of the newest model first; memory is one batch.

        `since` is included, `until` is not; crops of unknown time are outside every span.

        Raises StoreError for an unknown column or model, and for embeddings of several models at once.
        """
        span = Span(None if cameras is None else frozenset(cameras), since, until)
        return self._reader(model, span).scan(columns, span, batch_rows)

    def crops(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Return crops in the order of `ids`, with `crop_id`, `model` and `columns` (all by default).

        A crop that several models saw is that of the newest. Raises StoreError for a crop that is not visible.
        """
        return self._reader(model, None).find(ids, CROP_COLUMNS if columns is None else columns)

    def pick_crops(self, ids: Collection[str], columns: Sequence[str], *, model: str) -> Iterator[pa.RecordBatch]:
        """Yield the crops of a model that are visible among `ids`, in the order of `scan_crops`; the rest is not read.

        Raises StoreError for an unknown column or model.
        """
        return self._reader(model, None).pick(ids, columns)

    def crops_at(self, places: Mapping[int, Sequence[int]], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return by crop id what stands at `places`, numbers of rows by `VisibleFile.id`; as `crops`, without a search.

        What is no longer visible is left out. Raises StoreError for an unknown column.
        """
        with self._db.read() as session:
            reader = CropReader(self._root, crop_files(session, ids=places), clock_offsets(session))
        return reader.at(places, columns)

    def visible_files(self) -> list[VisibleFile]:
        """Return the files with visible crops, those of the newest model first."""
        with self._db.read() as session:
            return crop_files(session)

    def read_file(self, file: VisibleFile, columns: Sequence[str]) -> pa.Table:
        """Return columns of all crops in a file, those it hides too, in their order; times as they were recorded.

        Raises StoreError where the file cannot be read.
        """
        batches = [completed(batch, columns) for batch in self._root.read(file.path, columns)]
        return pa.Table.from_batches(batches)

    def snapshot(self) -> str:
        """Return the SHA-256 that names the visible crops and clock offsets, from the catalogue alone."""
        with self._db.read() as session:
            return snapshot(session)

    def cameras(self) -> list[Camera]:
        """Return the cameras that were seen, by name."""
        with self._db.read() as session:
            return cameras.cameras(session)

    def set_clock_offset(self, name: str, seconds: float) -> None:
        """Add `seconds` to the times that a camera recorded. Raises StoreError for an unknown camera."""
        with self._db.write() as session:
            cameras.set_clock_offset(session, name, seconds)

    def check(self, progress: Callable[[int, int], None] | None = None) -> CheckReport:
        """Verify every file, row and count; `progress` hears of files done and files in all."""
        return check(self._db, self._root, progress or _silent)

    def vacuum(self, *, dry_run: bool = False, now: bool = False) -> VacuumReport:
        """Remove retired and stray files that are older than an hour, or with `now` of any age."""
        return vacuum(self._db, self._root, dry_run=dry_run, now=now)

    def export_market(
        self,
        out: Path,
        *,
        cameras: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ExportReport:
        """Write the crops of one model below `out` in the Market-1501 layout; see `exporting.export_market`.

        It is the model that serves where it has any, else the newest that has.

        Raises StoreError where the store holds no crops, or `out` is not an empty or new folder.
        """
        span = Span(None if cameras is None else frozenset(cameras), since, until)
        reader = self._reader(self.models_with_crops()[0].digest, span)
        return export_market(reader, span, out, progress or _silent)

    def person_numbers(self, ids: Collection[str]) -> dict[str, int]:
        """Return crop id to the number that `export_market` gives its person; crops of nobody known are left out.

        Raises StoreError where the store holds no crops.
        """
        return person_numbers(self._reader(self.models_with_crops()[0].digest, None), ids)

    def _reader(self, model: str | None, span: Span | None) -> CropReader:
        with self._db.read() as session:
            return CropReader(self._root, crop_files(session, model, span), clock_offsets(session))


def _silent(done: int, total: int) -> None:
    """Report nothing."""
