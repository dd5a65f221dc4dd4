"""Retry of quarantined inputs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_pipeline import POISON, archive, begin, drive, images, pick, video, work_off
from vestigo.store.open import Store
from vestigo.store.runs.records import Owner, RetryResult
from vestigo_models.errors import StoreError

pytestmark = pytest.mark.slow


@pytest.fixture
def store(store_ref: Path) -> Iterator[Store]:
    with Store.open(store_ref) as opened:
        yield opened


def put_back(store: Store, run: str, *names: str, there: bool = True, **more: Any) -> RetryResult:
    return store.runs.retry(run, names or None, select=pick, has_video=lambda _: there, **more)


def visible(store: Store) -> list[str]:
    assert store.check().problems == ()
    return sorted(str(name) for batch in store.crops.scan(["input"]) for name in batch.column("input").to_pylist())


def ledger(store: Store, run: str) -> tuple[int, ...]:
    totals = store.runs.totals(run)
    assert totals.inputs == totals.done + totals.empty + totals.quarantined + totals.pending
    return totals.done, totals.empty, totals.quarantined, totals.pending


def test_retry_processes_quarantined_inputs_only(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, archive())
    drive(store, run.id)
    before = visible(store)
    assert put_back(store, run.id) == RetryResult(2, ())
    assert ledger(store, run.id) == (4, 1, 0, 2)
    assert visible(store) == before
    assert (store.runs.get(run.id).status, store.runs.get(run.id).finished) == ("running", None)
    assert [task.inputs for task in store.shards.pending(run.id, limit=9)] == [("broken.jpg",), (POISON,)]
    assert drive(store, run.id, bad=()).status == "succeeded"
    assert ledger(store, run.id) == (6, 1, 0, 0)
    assert visible(store) == sorted([*before, "broken.jpg", POISON])
    assert store.runs.totals(run.id).crops == 7


def test_input_that_fails_again_is_quarantined_again(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, archive())
    drive(store, run.id)
    before, failures = visible(store), list(store.runs.failures(run.id))
    for _ in range(3):
        put_back(store, run.id)
        drive(store, run.id)
        assert list(store.runs.failures(run.id)) == failures
        assert ledger(store, run.id) == (4, 1, 2, 0)
        assert visible(store) == before


def test_inputs_are_chosen_by_name_and_by_reason(store: Store) -> None:
    run = begin(store)
    names = [f"{number}.jpg" for number in range(6)]
    store.shards.plan(run.id, [images(*names), images(POISON, "other.jpg")])
    bad = {*names[1:5], POISON}
    drive(store, run.id, bad)
    assert put_back(store, run.id, reason="worker-died") == RetryResult(1, ())
    drive(store, run.id, bad)
    assert put_back(store, run.id, names[3], names[1]) == RetryResult(2, ())
    assert [task.inputs for task in store.shards.pending(run.id, limit=9)] == [(names[1], names[3])]
    drive(store, run.id, {*names[2:5], POISON})
    assert [failure.input for failure in store.runs.failures(run.id)] == [names[2], names[4], names[3], POISON]
    # All that is left in a shard's place goes back without another one.
    assert put_back(store, run.id, names[3]) == RetryResult(1, ())
    (task,) = store.shards.pending(run.id, limit=9)
    assert (task.inputs, task.spec) == ((names[3],), {"names": [names[3]]})
    drive(store, run.id, bad=())
    assert visible(store) == sorted({*names, "other.jpg"} - {names[2], names[4]})


def test_unretryable_inputs_are_reported(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, archive())
    drive(store, run.id)
    with pytest.raises(StoreError, match=r"no quarantined input one\.jpg"):
        put_back(store, run.id, "one.jpg", "broken.jpg")
    with pytest.raises(StoreError, match="no quarantined input with reason too-large to retry"):
        put_back(store, run.id, reason="too-large")
    assert store.shards.pending(run.id, limit=9) == []
    put_back(store, run.id)
    with pytest.raises(StoreError, match="no quarantined input to retry"):
        put_back(store, run.id)
    drive(store, run.id)
    put_back(store, run.id, POISON)
    store.runs.take_lease(run.id, Owner(Owner.current().host, os.getppid()))
    with pytest.raises(StoreError, match="being driven by process"):
        put_back(store, run.id)


def test_a_slice_waits_again_while_its_video_waits_for_it(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, video("walk.avi", slices=3))
    first, second, third = store.shards.pending(run.id, limit=9)
    work_off(store, first)
    work_off(store, second, ["walk.avi[1]"])
    assert put_back(store, run.id) == RetryResult(1, ())
    assert [task.inputs for task in store.shards.pending(run.id, limit=9)] == [second.inputs, third.inputs]
    assert ledger(store, run.id) == (1, 0, 0, 2)
    drive(store, run.id)
    assert ledger(store, run.id) == (3, 0, 0, 0)
    assert store.runs.totals(run.id).frame_failures == 3
    assert len(visible(store)) == 3


@pytest.mark.parametrize("replaces", [False, True])
def test_an_assembled_video_is_done_again_as_a_whole(store: Store, replaces: bool) -> None:
    run = begin(store, replaces=replaces)
    store.shards.plan(run.id, [*video("walk.avi", slices=3), images("one.jpg")])
    drive(store, run.id, ["walk.avi[1]"])
    assert ledger(store, run.id) == (3, 0, 1, 0)
    before = visible(store)
    assert put_back(store, run.id) == RetryResult(3, ())
    assert ledger(store, run.id) == (1, 0, 0, 3)
    # What it showed stays until the moment of the new rows.
    while tasks := store.shards.pending(run.id, limit=1):
        assert visible(store) == before
        store.runs.take_lease(run.id)
        work_off(store, tasks[0])
    store.runs.finish(run.id, "succeeded")
    assert visible(store) == before
    totals = store.runs.totals(run.id)
    assert (totals.crops, totals.tracklets, totals.frame_failures, totals.quarantined) == (4, 1, 3, 0)
    assert (
        len(store.shards.file_paths(run.id, kind="detections")) + len(store.shards.file_paths(run.id, kind="crops"))
        == 2
    )
    ids = [name for batch in store.crops.scan(["crop_id"]) for name in batch.column("crop_id").to_pylist()]
    assert len(ids) == len(set(ids)) == 4
    store.vacuum(now=True)
    assert store.check().intact


def test_missing_video_is_not_retried(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, [*video("walk.avi", slices=2), images("one.jpg", "broken.jpg")])
    drive(store, run.id, ["walk.avi[1]", "broken.jpg"])
    with pytest.raises(StoreError, match=r"walk.avi\[1\] cannot be retried: put its video back"):
        put_back(store, run.id, "walk.avi[1]", there=False)
    assert put_back(store, run.id, there=False) == RetryResult(1, ("walk.avi[1]",))
    drive(store, run.id, bad=())
    assert ledger(store, run.id) == (3, 0, 1, 0)


def test_video_whose_assembly_died_is_retried(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, video("walk.avi", slices=2))
    for task in store.shards.pending(run.id, limit=9):
        work_off(store, task)
    for again in (False, True):
        assembly = store.shards.pending(run.id, limit=1)[0]
        assert [store.shards.record_death(assembly.id, "out of memory", pick) for _ in range(2)] == [
            "retry",
            "quarantined",
        ]
        assert ledger(store, run.id) == (0, 0, 2, 0)
        assert visible(store) == []
        assert put_back(store, run.id, "walk.avi[0]") == RetryResult(2, ())
        if not again:
            for task in store.shards.pending(run.id, limit=9):
                work_off(store, task)
    drive(store, run.id)
    assert ledger(store, run.id) == (2, 0, 0, 0)
    assert len(visible(store)) == store.runs.totals(run.id).crops == 3


def test_dying_repeated_assembly_removes_old_rows(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, video("walk.avi", slices=2))
    drive(store, run.id, ["walk.avi[1]"])
    put_back(store, run.id)
    for task in store.shards.pending(run.id, limit=9):
        work_off(store, task)
    (assembly,) = store.shards.pending(run.id, limit=1)
    assert [store.shards.record_death(assembly.id, "out of memory", pick) for _ in range(2)] == ["retry", "quarantined"]
    assert (visible(store), ledger(store, run.id)) == ([], (0, 0, 2, 0))


def test_replaced_input_is_not_retried(store: Store) -> None:
    old = begin(store)
    store.shards.plan(old.id, [images("one.jpg", "broken.jpg")])
    drive(store, old.id)
    new = begin(store, fingerprint="e" * 64, replaces=True)
    store.shards.plan(new.id, [images("one.jpg", "broken.jpg")])
    drive(store, new.id)
    # The new run left it out, too: it is the old one's until a retry of the new one succeeds.
    put_back(store, new.id)
    drive(store, new.id, bad=())
    with pytest.raises(StoreError, match="no quarantined input to retry"):
        put_back(store, old.id)
    assert visible(store) == ["broken.jpg", "one.jpg"]


def test_failures_are_paged_and_counted_by_reason(store: Store) -> None:
    run = begin(store)
    names = [f"{number}.jpg" for number in range(5)]
    store.shards.plan(run.id, [images(*names), images(POISON), *video("walk.avi", slices=3)])
    drive(store, run.id, {*names[1:4], POISON})
    everything = list(store.runs.failures(run.id))
    assert len(everything) == 7
    for limit in (1, 2, 3, 7):
        pages = [list(store.runs.failures(run.id, limit, offset=offset)) for offset in range(0, 8, limit)]
        assert [failure for page in pages for failure in page] == everything
    for reason in ("not-an-image", "worker-died", "undecodable", "nonsense"):
        wanted = [failure for failure in everything if failure.reason == reason]
        assert list(store.runs.failures(run.id, reason=reason)) == wanted
        assert list(store.runs.failures(run.id, 1, offset=1, reason=reason)) == wanted[1:2]
    counted = [(count.reason, count.inputs, count.frames) for count in store.runs.failure_counts(run.id)]
    assert counted == [("not-an-image", 3, 0), ("undecodable", 0, 3), ("worker-died", 1, 0)]


def test_runs_are_paged(store: Store) -> None:
    runs = [begin(store) for _ in range(5)]
    assert store.runs.count() == 5
    assert store.runs.list(newest_first=True) == runs[::-1]
    assert store.runs.list(newest_first=True, offset=1, limit=2) == [runs[3], runs[2]]
    assert not store.runs.is_driven(runs[0].id)
    store.runs.take_lease(runs[0].id)
    assert store.runs.is_driven(runs[0].id)
