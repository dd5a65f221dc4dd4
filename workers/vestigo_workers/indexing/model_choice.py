"""Which model an indexing run takes, as the registry of its store has it."""

from __future__ import annotations

from vestigo.resolve import locate_model, registered
from vestigo.store.open import Store
from vestigo.store.runs.records import Model
from vestigo_workers.indexing.request import IndexRequest


def with_model(store: Store, request: IndexRequest) -> IndexRequest:
    """Return a request whose model is named by the place where it lies, so that a run can be resumed by it.

    A request that names no model gets the one that serves, where one does.

    Raises:
        ModelError: the registry has no such model, or it is no longer what was registered.
        StoreError: the registry has several of that name.
    """
    ref = request.model if "model" in request.model_fields_set else store.serving()
    return request if ref is None else request.model_copy(update={"model": locate_model(store, ref)})


def latest_model(store: Store) -> Model:
    """Return the model that serves, without one the newest with crops.

    Raises:
        StoreError: nothing is indexed.
    """
    serving = store.serving()
    if serving is not None:
        return registered(store, serving)
    return store.models_with_crops()[0]
