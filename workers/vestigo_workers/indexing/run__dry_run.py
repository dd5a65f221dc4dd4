"""What an indexing run would do and cost, without doing it."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vestigo.ingest.estimate import estimate
from vestigo.ingest.inputs import ImageInput, Locator
from vestigo.ingest.shards import shard_from_json
from vestigo.store.open import Store
from vestigo_models.devices import resolve_device
from vestigo_models.inference.extractor import Extractor
from vestigo_workers.indexing.model_choice import with_model
from vestigo_workers.indexing.plan import plans, survey
from vestigo_workers.indexing.request import IndexRequest, fingerprint
from vestigo_workers.indexing.run import prepare, worker_factory
from vestigo_workers.runs.driver import Report


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
