"""Any run of a store, whatever it does: resumed, and told as its own kind is."""

from __future__ import annotations

from typing import Any

from vestigo.store import Store
from vestigo_workers import index, regions
from vestigo_workers.index import Indexed, Stage


def resume(store: Store, run_id: str, stage: Stage) -> Indexed:
    """Do what a run left undone, and only that; a finished run is returned as it is.

    Raises:
        FingerprintMismatch: model, parser or settings are no longer those of the run.
    """
    kind = store.find_run(run_id).kind
    return regions.resume_regions(store, run_id, stage) if kind == "regions" else index.resume(store, run_id, stage)


def summary(store: Store, indexed: Indexed) -> dict[str, Any]:
    """Return the result of a run under the names of the command-line contract."""
    kind = indexed.ended.run.kind
    return regions.regions_summary(store, indexed) if kind == "regions" else index.summary(store, indexed)
