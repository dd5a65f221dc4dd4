"""Whose predictions are reviewed and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vestigo.store import Model, Store


def reviewed_model(store: Store, ref: str | None) -> Model:
    """The model that `ref` names, else the one that serves, else the newest; it must have crops in the store.

    Raises:
        ModelError, StoreError: there is none.
    """
    from vestigo.registry import model_digest
    from vestigo.retrieval.archive import current_model, require_model

    if ref is not None:
        return require_model(store, model_digest(store, ref))
    counts, serving = store.crop_counts(), store.serving()
    seen = [model for model in store.models() if model.digest in counts]
    return next((model for model in seen if model.digest == serving), seen[0] if seen else current_model(store))
