"""Index again, with one model, what other models indexed: repeat the runs whose crops are stale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestigo.ingest.sources.discover import source_kind
from vestigo.resolve import resolve_digest, resolve_reindex_model
from vestigo.store.open import Store
from vestigo.store.runs.records import Run
from vestigo_models.errors import SourceError
from vestigo_models.progress import OpenProgress
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.indexing.request import IndexRequest, build_request
from vestigo_workers.indexing.run import index, with_located_model
from vestigo_workers.runs.result import RunResult

EXECUTION_SETTINGS = (*ExecutorSettings.model_fields, "slice_seconds", "batch_size", "decode_threads")
"""Settings of a request that change no row; a repetition may override them."""


@dataclass(frozen=True, kw_only=True)
class ReindexResult:
    """The repeated runs."""

    model: str  # digest of the model that indexed again
    runs: tuple[RunResult, ...]  # the new runs, oldest sources first
    missing: tuple[str, ...]  # sources that no longer exist; their crops stay as they were
    stale: int  # crops of other models that stay, from missing sources or missing or broken files
    unended: tuple[str, ...]  # runs of other models that another process may still drive; they were not repeated


def reindex_stale(
    store: Store, open_progress: OpenProgress, *, model: str | None = None, settings: Mapping[str, Any]
) -> ReindexResult:
    """Repeat the runs that produced crops of other models, with their own sources and settings.

    The rows of each run are replaced in the transaction that ends its repetition. `model` is named as in a request; by
    default it is the serving model, else the newest with crops. `settings` are overrides with keys out of
    `EXECUTION_SETTINGS`.

    Raises:
        StoreError: Nothing is indexed, or another version of Vestigo made a run.
        ConfigError: A setting is wrong.
        ModelError: The model does not exist.
        SourceError: No source of the stale runs exists any more.
    """
    digest = resolve_reindex_model(store).digest if model is None else resolve_digest(store, model)
    stale = store.runs.stale(digest)
    overrides = {**settings, "model": model or digest}
    requests = [
        with_located_model(store, build_request(request.model_dump() | overrides))
        for request in _distinct_requests(stale)
    ]
    missing = [source for request in requests for source in request.sources if not _exists(source)]
    remaining = [
        request.model_copy(update={"sources": sources})
        for request in requests
        if (sources := tuple(source for source in request.sources if source not in missing))
    ]
    if missing and not remaining:
        raise SourceError(f"nothing can be indexed again: {', '.join(missing)} no longer exist; restore the sources")
    runs = tuple(index(store, request, open_progress, reindex_stale=True) for request in remaining)
    return ReindexResult(
        model=digest,
        runs=runs,
        missing=tuple(dict.fromkeys(missing)),
        stale=sum(count for other, count in store.models.crop_counts().items() if other != digest),
        unended=tuple(run.id for run in stale if run.status == "running"),
    )


def _distinct_requests(runs: Sequence[Run]) -> list[IndexRequest]:
    """Return the requests of runs that have ended, each once, in the order of their last occurrence."""
    requests: dict[str, IndexRequest] = {}
    for run in runs:
        if run.status != "running":
            request = IndexRequest.of_run(run)
            key = request.model_dump_json(exclude={"model", *EXECUTION_SETTINGS})
            requests.pop(key, None)
            requests[key] = request
    return list(requests.values())


def _exists(source: str) -> bool:
    try:
        source_kind(source)
    except SourceError:
        return False
    return True
