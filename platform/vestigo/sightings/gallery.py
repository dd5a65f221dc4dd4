"""An archive whose crops are read through the browse index: a search opens only the files that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from vestigo.sightings.index import BrowseIndex
from vestigo.store.crops.repository import SCAN_ROWS, CropRepository
from vestigo.store.models.repository import ModelRepository
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import CROP_COLUMNS


@dataclass(frozen=True)
class IndexedCrops:
    """The crops of a store; crops of a named model are read at the positions that the browse index knows."""

    stored: CropRepository
    index: BrowseIndex

    def scan(
        self,
        columns: Sequence[str],
        *,
        model: str | None = None,
        cameras: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch_rows: int = SCAN_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the visible crops; see `CropRepository.scan`."""
        return self.stored.scan(columns, model=model, cameras=cameras, since=since, until=until, batch_rows=batch_rows)

    def get(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Return crops in the order of `ids`; see `CropRepository.get`."""
        if model is None:
            return self.stored.get(ids, columns)
        return self.index.rows(ids, CROP_COLUMNS if columns is None else columns, model=model)

    def snapshot(self) -> str:
        """Return the SHA-256 that names the visible crops; see `CropRepository.snapshot`."""
        return self.stored.snapshot()


@dataclass(frozen=True)
class IndexedArchive:
    """A `vestigo.retrieval.gallery.SearchableStore` of a store and its browse index."""

    crops: IndexedCrops
    models: ModelRepository

    @classmethod
    def of(cls, store: Store, index: BrowseIndex) -> IndexedArchive:
        """Return the archive of a store and its index."""
        return cls(IndexedCrops(store.crops, index), store.models)
