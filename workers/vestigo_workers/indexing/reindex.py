"""Everything that other models wrote is indexed again: the runs that left it are repeated with one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vestigo.ingest.sources.discover import source_kind
from vestigo.resolve import model_digest
from vestigo.store.open import Store
from vestigo.store.runs.records import Run
from vestigo_models.errors import SourceError
from vestigo_workers.indexing.model_choice import latest_model, with_model
from vestigo_workers.indexing.request import IndexRequest, build_request
from vestigo_workers.indexing.run import Indexed, Stage, index, request_of

POOL = ("executor", "actors", "gpus_per_actor", "device", "shard_size", "slice_seconds", "batch_size", "decode_threads")
"""Settings of a request that change no row; a repetition may choose them anew."""


@dataclass(frozen=True, kw_only=True)
class Reindexed:
    """What was repeated.

    Attributes:
        model: digest of the model that it was repeated with.
        runs: what each new run did, oldest sources first.
        gone: sources that are no longer there; what they gave stays as it was.
        stale: crops of other models that stay, of such sources or of single files that are gone or broken.
        unended: runs of other models that somebody may still be driving; they were left alone.
    """

    model: str
    runs: tuple[Indexed, ...]
    gone: tuple[str, ...]
    stale: int
    unended: tuple[str, ...]


def reindex_stale(store: Store, stage: Stage, *, model: str | None = None, pool: Mapping[str, Any]) -> Reindexed:
    """Repeat the runs that left crops of other models, with their own sources and settings.

    The rows of each run are replaced in the transaction that ends its repetition. `model` is named as in a request; by
    default it is the one that serves, without one the newest with crops. `pool` are settings out of `POOL`.

    Raises:
        StoreError: nothing is indexed, or a run was made by another version of Vestigo.
        ConfigError: a wrong setting in `pool`.
        ModelError: the model cannot be found.
        SourceError: there is something to repeat, and none of its sources is left.
    """
    digest = latest_model(store).digest if model is None else model_digest(store, model)
    stale = store.stale_runs(digest)
    requests = [_with(store, request, model or digest, pool) for request in _requests(stale)]
    gone = [source for request in requests for source in request.sources if not _is_there(source)]
    left = [_without(request, gone) for request in requests if not set(gone).issuperset(request.sources)]
    if gone and not left:
        raise SourceError(f"nothing can be indexed again: {', '.join(gone)} not there any more; put the sources back")
    runs = tuple(index(store, request, stage, reindex_stale=True) for request in left)
    return Reindexed(
        model=digest,
        runs=runs,
        gone=tuple(dict.fromkeys(gone)),
        stale=sum(count for held, count in store.crop_counts().items() if held != digest),
        unended=tuple(run.id for run in stale if run.status == "running"),
    )


def _requests(stale: Sequence[Run]) -> list[IndexRequest]:
    """What was asked, each once, in the order in which it was asked last."""
    asked: dict[str, IndexRequest] = {}
    for run in stale:
        if run.status != "running":
            request = request_of(run)
            key = request.model_dump_json(exclude={"model", *POOL})
            asked.pop(key, None)
            asked[key] = request
    return list(asked.values())


def _with(store: Store, request: IndexRequest, model: str, pool: Mapping[str, Any]) -> IndexRequest:
    return with_model(store, build_request(request.model_dump() | dict(pool) | {"model": model}))


def _without(request: IndexRequest, gone: Sequence[str]) -> IndexRequest:
    return request.model_copy(update={"sources": tuple(source for source in request.sources if source not in gone)})


def _is_there(source: str) -> bool:
    try:
        source_kind(source)
    except SourceError:
        return False
    return True
