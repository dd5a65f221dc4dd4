"""An archive as retrieval reads it, with crops looked up through the index: a search then opens no file in vain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from vestigo.sightings.index import BrowseIndex
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import CROP_COLUMNS
from vestigo.store.runs.records import Model


@dataclass(frozen=True)
class IndexedArchive:
    """The methods of `vestigo.search.gallery.SearchableStore`, answered by a store and its browse index."""

    store: Store
    index: BrowseIndex

    def scan_crops(
        self,
        columns: Sequence[str],
        *,
        model: str | None = None,
        cameras: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        batch_rows: int = 16384,
    ) -> Iterator[pa.RecordBatch]:
        """Yield visible crops, as `Store.scan_crops`."""
        return self.store.scan_crops(
            columns, model=model, cameras=cameras, since=since, until=until, batch_rows=batch_rows
        )

    def crops(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Return rows of crops, as `Store.crops`; it takes the name of a model to know where they lie."""
        if model is None:
            return self.store.crops(ids, columns)
        return self.index.rows(ids, CROP_COLUMNS if columns is None else columns, model=model)

    def models(self) -> list[Model]:
        """Return the models, newest first."""
        return self.store.models()

    def find_model(self, ref: str) -> Model | None:
        """Return the model of a name, a digest, or the beginning of one."""
        return self.store.find_model(ref)

    def serving(self) -> str | None:
        """Return the digest of the model that was promoted, None without one."""
        return self.store.serving()

    def crop_counts(self) -> dict[str, int]:
        """Return how many crops of each model there are."""
        return self.store.crop_counts()
