"""Index an archive: survey the sources, plan shards, drive the run, resume it, repeat it with another model."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vestigo.ingest.estimate import estimate_indexing
from vestigo.ingest.inputs import ImageInput, Locator
from vestigo.ingest.shards import shard_from_json
from vestigo.ingest.sources.discover import source_kind
from vestigo.resolve import resolve_digest, resolve_index_model, resolve_reindex_model
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.runs.records import Run
from vestigo_models.detection.registry import active_detector, resolve_auto
from vestigo_models.devices import resolve_device
from vestigo_models.errors import FingerprintMismatch, SourceError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage, resolve_model
from vestigo_models.progress import OpenProgress, ProgressCallback, ignore_stages
from vestigo_models.shipped import shipped_name
from vestigo_models.tracking.appearance import appearance_digest
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.indexing.plan import shard_plans, survey
from vestigo_workers.indexing.request import CROPS_SCHEMA_VERSION, IndexRequest, build_request, fingerprint
from vestigo_workers.indexing.worker import ExtractionWorker
from vestigo_workers.runs.driver import drive, open_executor
from vestigo_workers.runs.result import RunResult

EXECUTION_SETTINGS = (*ExecutorSettings.model_fields, "slice_seconds", "batch_size", "decode_threads")
"""Settings of a request that change no row; a repetition may override them."""


@dataclass(frozen=True, kw_only=True)
class IndexSetup:
    """A request with its model loaded; in `resolved`, the model is a folder and the detector is that of the sources."""

    request: IndexRequest
    resolved: IndexRequest
    package: ModelPackage

    @property
    def location(self) -> str:
        """Where a search loads the model from: a shipped model or `hub:ID` if it is named so, else its folder."""
        model = self.request.model
        return shipped_name(model) or (model if model.startswith("hub:") else self.resolved.model)

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes a stored row."""
        reference = self.resolved.detector
        detector = active_detector(reference)
        # Settings that are newer than the fingerprints of stores count only where they are used.
        names = {"timezone": self.request.timezone, "name_pattern": self.request.name_pattern}
        return {
            "schema": CROPS_SCHEMA_VERSION,
            "model": self.package.digest,
            "detector": {"mode": reference.split(":")[0], "digest": detector.digest if detector else None},
            "tracking": {**asdict(self.request.tracking), "appearance": appearance_digest()},
            "camera": self.request.camera,
            "start": self.request.start.isoformat() if self.request.start else None,
            **{name: value for name, value in names.items() if value not in (None, "UTC")},
        }


@dataclass(frozen=True, kw_only=True)
class ReindexResult:
    """The repeated runs."""

    model: str  # digest of the model that indexed again
    runs: tuple[RunResult, ...]  # the new runs, oldest sources first
    missing: tuple[str, ...]  # sources that no longer exist; their crops stay as they were
    stale: int  # crops of other models that stay, from missing sources or missing or broken files
    unended: tuple[str, ...]  # runs of other models that another process may still drive; they were not repeated


def prepare(request: IndexRequest) -> IndexSetup:
    """Load the model of a request and resolve its detector."""
    is_dataset = {source_kind(source) for source in request.sources} == {"dataset"}
    detector = resolve_auto(request.detector, only_crops=is_dataset)
    folder = resolve_model(request.model)
    resolved = request.model_copy(update={"model": str(folder), "detector": detector})
    return IndexSetup(request=request, resolved=resolved, package=ModelPackage.from_pretrained(folder))


def index(
    store: Store, request: IndexRequest, open_progress: OpenProgress = ignore_stages, *, reindex_stale: bool = False
) -> RunResult:
    """Index the sources of a request into the store; without a model it takes the serving model.

    An unfinished run over the same sources under the same fingerprint is resumed.

    Raises:
        FingerprintMismatch: The store holds inputs under another fingerprint and `reindex_stale` is false.
    """
    request = with_located_model(store, request)
    setup = prepare(request)
    config = setup.config
    digest = fingerprint(config)
    earlier = store.runs.find_unfinished(digest)
    if earlier is not None and IndexRequest.of_run(earlier).sources == request.sources:
        return prepare_resume(store, earlier.id)(open_progress)
    with survey(store, request, digest, open_progress("reading")) as surveyed:
        if surveyed.stale and not reindex_stale:
            differing = "; ".join(store.runs.differences(min(surveyed.stale), config))
            raise FingerprintMismatch(
                f"the store holds inputs of {', '.join(request.sources)} under another fingerprint ({differing}); "
                "--reindex-stale replaces their rows, another --store keeps both"
            )
        facts = ModelFacts.of(setup.package)
        store.models.register(setup.package.digest, name=setup.package.name, location=setup.location, facts=facts)
        run = store.runs.create(
            fingerprint=digest,
            config=config,
            model=setup.package.digest,
            command=request.model_dump_json(),
            replaces=bool(surveyed.stale),
        )
        store.shards.plan(run.id, shard_plans(surveyed.items(), request))
    return replace(_drive(store, run.id, setup, open_progress), skipped=surveyed.skipped)


def prepare_resume(store: Store, run_id: str) -> Callable[[OpenProgress], RunResult]:
    """Load what a run needs, and return the function that processes its pending inputs.

    Raises:
        FingerprintMismatch: The model, the detector or a setting is no longer that of the run.
    """
    run = store.runs.get(run_id)
    request = IndexRequest.of_run(run)
    setup = prepare(request)
    store.runs.require_fingerprint(run.id, fingerprint(setup.config), setup.config)

    def resume(open_progress: OpenProgress) -> RunResult:
        if not run.planned:
            with survey(store, request, run.fingerprint, open_progress("reading")) as surveyed:
                store.shards.plan(run.id, shard_plans(surveyed.items(), request))
        return _drive(store, run.id, setup, open_progress)

    return resume


def _drive(store: Store, run_id: str, setup: IndexSetup, open_progress: OpenProgress) -> RunResult:
    factory = partial(ExtractionWorker, store.data, setup.resolved)
    opener = partial(open_executor, store, run_id, factory, setup.request)
    return drive(store, run_id, opener, open_progress("indexing"))


def with_located_model(store: Store, request: IndexRequest) -> IndexRequest:
    """Return a request that names its model by the place of the package, so that the run can be resumed by it."""
    reference = request.model if "model" in request.model_fields_set else None
    place = resolve_index_model(store, reference)
    return request if place is None else request.model_copy(update={"model": place})


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


def estimate_index(store: Store, request: IndexRequest, progress: ProgressCallback) -> dict[str, Any]:
    """Survey the sources, time a few of their images and frames, and return counts, seconds and bytes.

    Nothing is written to the store. Seconds hold for this machine and device, without start-up.
    """
    request = with_located_model(store, request)
    setup = prepare(request)
    device = resolve_device(request.device)
    workers = request.actors or (1 if request.executor == "inline" or device != "cpu" else os.cpu_count() or 1)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    worker = ExtractionWorker(store.data, setup.resolved)
    # Batches of one crop: the time of a crop without the padding of its batch.
    extractor = Extractor(setup.package, device=device, batch_size=1)
    item = ImageInput("sample", "", Locator("file", "sample"), "", None, None)

    def work(image: NDArray[np.uint8]) -> int:
        candidates = worker.candidates(item, image)
        extractor.extract([candidate.image for candidate in candidates])
        return len(candidates)

    work(np.zeros((128, 64, 3), dtype=np.uint8))
    with survey(store, request, fingerprint(setup.config), progress) as surveyed:
        specs = (plan.spec for plan in shard_plans(surveyed.items(), request))
        shards = (shard_from_json(spec["shard"]) for spec in specs if "shard" in spec)
        costs = estimate_indexing(shards, work, workers=workers, device=device)
        return {
            "dry_run": True,
            "inputs": surveyed.new,
            "skipped": surveyed.skipped,
            "ignored": surveyed.ignored,
            **asdict(costs),
            "workers": workers,
        }
