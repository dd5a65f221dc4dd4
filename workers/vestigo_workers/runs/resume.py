"""Any run of a store, whatever it does: resumed, tried again, and told as its own kind is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from vestigo.store.open import Store
from vestigo.store.runs.records import Retried
from vestigo_workers.indexing import run as index
from vestigo_workers.indexing.plan import pick_spec, video_is_there
from vestigo_workers.indexing.run import Indexed, Stage, finished
from vestigo_workers.regions import run as regions


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """What was tried again, and how the run ended."""

    retried: Retried
    indexed: Indexed


def resume(store: Store, run_id: str, stage: Stage) -> Indexed:
    """Do what a run left undone, and only that; a finished run is returned as it is.

    Raises:
        FingerprintMismatch: model, parser or settings are no longer those of the run.
    """
    return finished(store, run_id) if store.find_run(run_id).status == "succeeded" else _ready(store, run_id)(stage)


def retry(
    store: Store,
    run_id: str,
    stage: Stage,
    *,
    names: Collection[str] | None = None,
    reason: str | None = None,
    before: Callable[[], None],
) -> Repeated:
    """Do again what a run left out, all or some of it, and what else it left undone.

    `before` is called once it is certain that the run can go on, and before anything is changed.

    Raises:
        FingerprintMismatch: as `resume`.
        StoreError: as `Store.retry`.
    """
    go_on = _ready(store, run_id)
    before()
    retried = store.retry(run_id, names, reason=reason, pick=pick_spec, is_there=video_is_there)
    return Repeated(retried=retried, indexed=go_on(stage))


def summary(store: Store, indexed: Indexed) -> dict[str, Any]:
    """Return the result of a run under the names of the command-line contract."""
    kind = indexed.ended.run.kind
    return regions.regions_summary(store, indexed) if kind == "regions" else index.summary(store, indexed)


def _ready(store: Store, run_id: str) -> Callable[[Stage], Indexed]:
    kind = store.find_run(run_id).kind
    return regions.ready(store, run_id) if kind == "regions" else index.ready(store, run_id)
