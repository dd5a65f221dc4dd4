"""Whose predictions are reviewed and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vestigo.store.open import Store
    from vestigo.store.runs.records import Model


def reviewed_model(store: Store, ref: str | None) -> Model:
    """The model that `ref` names, else the one that serves, else the newest; it must have crops in the store.

    Raises:
        ModelError, StoreError: there is none.
    """
    from vestigo.resolve import model_digest
    from vestigo.search.gallery import require_model

    return store.models_with_crops()[0] if ref is None else require_model(store, model_digest(store, ref))
