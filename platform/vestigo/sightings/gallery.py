"""An archive whose crops are read through the browse index: a search opens only the files that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vestigo.sightings.index import BrowseIndex
from vestigo.store.crops.repository import CropRepository
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import CROP_COLUMNS


@dataclass(frozen=True)
class IndexedCrops(CropRepository):
    """The crops of a store; crops of a named model are read at the positions that the browse index knows."""

    index: BrowseIndex

    def get(
        self, ids: Sequence[str], columns: Sequence[str] | None = None, *, model: str | None = None
    ) -> list[dict[str, Any]]:
        """Return crops in the order of `ids`; see `CropRepository.get`."""
        if model is None:
            return super().get(ids, columns)
        return self.index.rows(ids, CROP_COLUMNS if columns is None else columns, model=model)


class IndexedArchive:
    """A `vestigo.retrieval.gallery.SearchableStore` of a store and its browse index."""

    def __init__(self, store: Store, index: BrowseIndex) -> None:
        self.crops = IndexedCrops(store.database, store.root, index)
        self.models = store.models
