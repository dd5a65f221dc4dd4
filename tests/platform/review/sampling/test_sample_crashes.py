"""Kill with SIGKILL at every fault point of a sample, a label set and a promotion, and repeat."""

from __future__ import annotations

import signal
from itertools import count
from pathlib import Path

import pytest

from tests.support.forkserver import preloaded_context
from tests.support.review_archive import SCHEMA, answer, fill, people
from vestigo.review.labels.sets import save_label_set
from vestigo.review.sampling.sample import SamplingRequest, find_open_batch, sample_tasks, save_sample
from vestigo.store import faults
from vestigo.store.open import Store

pytestmark = pytest.mark.slow

FORKS = preloaded_context("tests.support.review_archive")
COUNT = 20
REQUEST = SamplingRequest(strategy="random", budget=8)


def review(ref: Path) -> None:
    """Run one round without a server: sample, annotate, save a label set."""
    with Store.open(ref) as store:
        store.review.ensure_project("p", SCHEMA)
        (model,) = store.models.list()
        if not store.review.samples("p"):
            save_sample(store, "p", sample_tasks(store, "p", model, REQUEST))
        answer(store, "p", people(COUNT)[1])
        save_label_set(store)


def review_and_die(ref: Path, point: int) -> None:
    """Review until fault point number `point`; ends with SIGKILL unless all is done before."""
    faults.install(faults.die_at(point))
    review(ref)


def test_killed_at_every_fault_point(tmp_path: Path) -> None:
    digests = set()
    for point in count(1):
        ref = tmp_path / str(point)
        fill(ref, people(COUNT)[0])
        process = FORKS.Process(target=review_and_die, args=(ref, point))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        review(ref)
        with Store.open(ref) as store:
            (batch,) = store.review.samples("p")
            assert (batch.tasks, store.review.task_counts("p")) == (8, {"drawn": 8, "answered": 8})
            (kept,) = store.label_sets.list()
            assert (kept.tasks, kept.labels) == (8, 16)
            digests.add(kept.digest)
            assert store.check().problems == ()
            assert find_open_batch(store, "p", store.models.list()[0], REQUEST) is None
            store.vacuum(now=True)
            assert store.check().unreferenced == 0
            assert store.review.inclusion_probabilities(
                batch.id, [task.key for page in store.review.tasks("p") for task in page]
            )
        if process.exitcode == 0:
            break
    assert point > 8
    assert len(digests) == 1
