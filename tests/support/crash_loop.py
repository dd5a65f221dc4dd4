"""Index sources in forked processes that are killed at the 1st, 2nd, 3rd ... fault point until one completes.

A process of its own, without threads before the fork: each death is a real SIGKILL and costs no new start of Python.
Prints JSON: how many processes died, and the result of the last.

Usage: python -m tests.support.crash_loop STORE SOURCE...
"""

from __future__ import annotations

import json
import os
import sys

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.support.forkserver import preload_store
from vestigo.store import faults
from vestigo.store.open import Store
from vestigo_models.detection import registry as detectors
from vestigo_models.detection.base import Detections
from vestigo_workers.indexing import run as index
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.runs.result import summarize

SETTINGS = {"executor": "inline", "shard_size": 4, "slice_seconds": 2.0, "batch_size": 4}


class BrightDetector:
    """Finds bright rectangles: a detector that costs nothing."""

    name = "bright"
    digest = "bright-1"

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        mask = (image.min(axis=2) > 200).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        boxes = stats[1:count, :4].astype(np.float32)
        boxes = boxes[(boxes[:, 2] > 8) & (boxes[:, 3] > 16)]
        return Detections(boxes=boxes, scores=np.ones(len(boxes), dtype=np.float32))


def main(reference: str, sources: list[str]) -> None:
    detectors.make_detector = lambda name, device="cpu": BrightDetector()  # type: ignore[assignment]
    request = IndexRequest(sources=tuple(sources), **SETTINGS)
    preload_store()
    deaths = 0
    while True:
        child = os.fork()
        if child == 0:
            faults.install(faults.die_at(deaths + 1))
            with Store.open(reference) as store:
                done = index.index(store, request, lambda name: lambda done, total: None)
                sys.stderr.write(json.dumps(summarize(store, done)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        deaths += 1
        with Store.open(reference) as store:
            problems = store.check().problems
            assert not problems, (deaths, problems)
    sys.stdout.write(json.dumps({"deaths": deaths}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
