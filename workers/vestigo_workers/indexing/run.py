"""Indexing an archive: survey, plan, drive, resume."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vestigo.ingest.estimate import estimate
from vestigo.ingest.inputs import ImageInput, Locator
from vestigo.ingest.shards import shard_from_json
from vestigo.ingest.sources.discover import source_kind
from vestigo.store.models.facts import ModelFacts
from vestigo.store.open import Store
from vestigo.store.runs.records import Run, status_text
from vestigo_models.devices import resolve_device
from vestigo_models.errors import FingerprintMismatch, StoreError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage, resolve_model
from vestigo_models.tracking.config import TrackingConfig
from vestigo_workers.executors.base import Executor
from vestigo_workers.executors.pool import open_executor
from vestigo_workers.indexing.model_choice import with_model
from vestigo_workers.indexing.plan import plans, survey
from vestigo_workers.indexing.request import CROPS_SCHEMA_VERSION, IndexRequest, fingerprint
from vestigo_workers.indexing.worker import ExtractionFactory, active_detector
from vestigo_workers.runs.driver import Ended, Report, drive

NAMED = 100
"""At most so many failures, and so many empty inputs, stand in a result; the counts are whole."""

Stage = Callable[[str], Report]
"""Opens a progress display for a named stage and returns its `report(done, total)`."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A request made concrete: the model found, the detector named, the fingerprint computed."""

    request: IndexRequest
    package: ModelPackage
    model_folder: str
    detector: str
    tracking: TrackingConfig

    @property
    def location(self) -> str:
        """Where a search finds the model again: by name where Vestigo or the hub has it, else its folder."""
        model = self.request.model
        return model if model == "default" or model.startswith("hub:") else self.model_folder

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes a stored row."""
        detector = active_detector(self.detector, "cpu")
        return {
            "schema": CROPS_SCHEMA_VERSION,
            "model": self.package.digest,
            "detector": {"mode": self.detector.split(":")[0], "digest": detector.digest if detector else None},
            "tracking": asdict(self.tracking),
            "camera": self.request.camera,
            "start": self.request.start.isoformat() if self.request.start else None,
        }


def prepare(request: IndexRequest) -> Setup:
    """Resolve model and detector of a request.

    Raises:
        ModelError, ConfigError, SourceError: a name that leads nowhere.
    """
    kinds = {source_kind(source) for source in request.sources}
    detector = "none" if request.detector == "auto" and kinds == {"dataset"} else request.detector
    folder = resolve_model(request.model)
    return Setup(
        request=request,
        package=ModelPackage.from_pretrained(folder),
        model_folder=str(folder),
        detector=detector,
        tracking=TrackingConfig(fps=request.fps, crops_per_tracklet=request.crops_per_tracklet),
    )


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What an indexing run did; `skipped` inputs were in the store before."""

    ended: Ended
    skipped: int


def index(store: Store, request: IndexRequest, stage: Stage, *, reindex_stale: bool = False) -> Indexed:
    """Index the sources of a request into the store; a request that names no model means the one that serves.

    An unfinished run over the same sources under the same fingerprint is resumed instead of begun again.

    Raises:
        FingerprintMismatch: inputs are in the store under another fingerprint and may not be replaced.
    """
    request = with_model(store, request)
    setup = prepare(request)
    config = setup.config
    bound = fingerprint(config)
    earlier = store.unfinished_run(bound)
    if earlier is not None and IndexRequest.model_validate_json(earlier.command).sources == request.sources:
        return ready(store, earlier.id)(stage)
    with survey(store, request, bound, stage("reading")) as found:
        if found.stale and not reindex_stale:
            differing = "; ".join(store.differences(min(found.stale), config))
            raise FingerprintMismatch(
                f"the store holds inputs of {', '.join(request.sources)} under another fingerprint ({differing}); "
                "--reindex-stale replaces their rows, another --store keeps both"
            )
        facts = ModelFacts.of(setup.package)
        store.register_model(setup.package.digest, name=setup.package.name, location=setup.location, facts=facts)
        run = store.create_run(
            fingerprint=bound,
            config=config,
            model=setup.package.digest,
            command=request.model_dump_json(),
            replaces=bool(found.stale),
        )
        store.plan(run.id, plans(found.items(), request, setup.tracking))
        ended = drive(store, run.id, executor_opener(store, setup, run.id), stage("indexing"))
        return Indexed(ended=ended, skipped=found.skipped)


def ready(store: Store, run_id: str) -> Callable[[Stage], Indexed]:
    """Find what a run is done with, and return what does the rest of it: whatever is pending then.

    Raises:
        FingerprintMismatch: model, detector or settings are no longer those of the run.
    """
    run = store.find_run(run_id)
    request = request_of(run)
    setup = prepare(request)
    store.require_fingerprint(run.id, fingerprint(setup.config), setup.config)

    def go_on(stage: Stage) -> Indexed:
        if not run.planned:
            with survey(store, request, run.fingerprint, stage("reading")) as found:
                store.plan(run.id, plans(found.items(), request, setup.tracking))
        ended = drive(store, run.id, executor_opener(store, setup, run.id), stage("indexing"))
        return Indexed(ended=ended, skipped=0)

    return go_on


def finished(store: Store, run_id: str) -> Indexed:
    """Return what a run has done so far, without doing anything."""
    run = store.find_run(run_id)
    return Indexed(ended=Ended(run=run, totals=store.totals(run_id)), skipped=0)


def request_of(run: Run) -> IndexRequest:
    """Return what the user asked of a run."""
    try:
        return IndexRequest.model_validate_json(run.command)
    except ValueError:
        raise StoreError(f"run {run.id} was made by another version of Vestigo and cannot be resumed") from None


def worker_factory(store: Store, setup: Setup) -> ExtractionFactory:
    """Return what builds the workers of a run."""
    return ExtractionFactory(
        data=store.data,
        model=setup.model_folder,
        detector=setup.detector,
        device=setup.request.device,
        batch_size=setup.request.batch_size,
        decode_threads=setup.request.decode_threads,
    )


def executor_opener(store: Store, setup: Setup, run_id: str) -> Callable[[], Executor]:
    """Return what starts the executor of a run, once there is something to do."""
    return partial(open_executor, store, run_id, worker_factory(store, setup), setup.request)


def summary(store: Store, indexed: Indexed) -> dict[str, Any]:
    """Return the result of a run under the names of the command-line contract."""
    run, totals = indexed.ended.run, indexed.ended.totals
    return {
        "run": run.id,
        "kind": run.kind,
        "status": status_text(run.status, totals),
        "inputs": totals.inputs + indexed.skipped,
        "done": totals.done,
        "empty": totals.empty,
        "quarantined": totals.quarantined,
        "pending": totals.pending,
        "skipped": indexed.skipped,
        "frame_failures": totals.frame_failures,
        "crops": totals.crops,
        "tracklets": totals.tracklets,
        "label_maps": totals.regions,
        "error": run.error,
        "seconds": run.seconds,
        "crops_per_second": totals.crops / run.seconds if run.seconds > 0 else 0.0,
        "failures": [asdict(failure) for failure in store.failures(run.id, limit=NAMED)],
        "empty_inputs": store.empty_inputs(run.id, limit=NAMED),
    }


def dry_run(store: Store, request: IndexRequest, report: Report) -> dict[str, Any]:
    """Survey the sources, time a few of their images and frames, and return counts, seconds and bytes.

    Nothing is written to the store. Seconds hold for this machine and device, and leave out start-up.
    """
    request = with_model(store, request)
    setup = prepare(request)
    device = resolve_device(request.device)
    workers = request.actors or (1 if request.executor == "inline" or device != "cpu" else os.cpu_count() or 1)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    worker = worker_factory(store, setup)()
    # One crop at a time, in batches of one: the time of a crop, not of the padding of its batch.
    extractor = Extractor(setup.package, device=device, batch_size=1)
    item = ImageInput("sample", "", Locator("file", "sample"), "", None, None)

    def work(image: NDArray[np.uint8]) -> int:
        found = worker.candidates(item, image)
        extractor.extract([candidate.image for candidate in found])
        return len(found)

    work(np.zeros((128, 64, 3), dtype=np.uint8))
    with survey(store, request, fingerprint(setup.config), report) as found:
        planned = plans(found.items(), request, setup.tracking)
        shards = (shard_from_json(plan.spec["shard"]) for plan in planned if "shard" in plan.spec)
        costs = estimate(shards, work, workers=workers, device=device)
        return {
            "dry_run": True,
            "inputs": found.new,
            "skipped": found.skipped,
            "ignored": found.ignored,
            "shards": costs.shards,
            "images": costs.images,
            "frames": costs.frames,
            "timed": costs.timed,
            "seconds": costs.seconds,
            "disk_bytes": costs.disk_bytes,
            "workers": workers,
            "device": device,
        }
