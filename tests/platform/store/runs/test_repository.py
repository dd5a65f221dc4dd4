from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.support.fake_pipeline import (
    FINGERPRINT,
    MODEL,
    POISON,
    archive,
    begin,
    crop,
    crop_table,
    drive,
    images,
    pick,
    video,
    work_off,
)
from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot
from vestigo.store.runs.records import InputOutcome, Owner, ShardPlan, status_text
from vestigo.store.sql.tables import RunRow
from vestigo_models.errors import FingerprintMismatch, LeaseLost, StoreError

pytestmark = pytest.mark.slow


@pytest.fixture
def store(store_ref: Path) -> Iterator[Store]:
    with Store.open(store_ref) as opened:
        yield opened


def test_a_run_from_plan_to_end(store: Store) -> None:
    run = begin(store)
    assert (run.status, run.planned, run.finished) == ("running", False, None)
    planned = store.shards.plan(run.id, archive())
    assert planned == 5
    ended = drive(store, run.id)
    assert (ended.status, ended.host, ended.cancel_requested) == ("succeeded", None, False)
    assert ended.finished is not None
    assert ended.seconds > 0
    totals = store.runs.totals(run.id)
    assert (totals.inputs, totals.done, totals.empty, totals.quarantined, totals.pending) == (7, 4, 1, 2, 0)
    assert (totals.crops, totals.tracklets, totals.frame_failures) == (5, 1, 2)
    assert status_text(ended.status, totals) == "succeeded with 4 failures"
    failures = [(failure.input, failure.frame, failure.reason) for failure in store.runs.failures(run.id)]
    assert failures == [
        ("broken.jpg", None, "not-an-image"),
        (POISON, None, "worker-died"),
        ("walk.avi[0]", 7, "undecodable"),
        ("walk.avi[1]", 7, "undecodable"),
    ]
    assert [failure.input for failure in store.runs.failures(run.id, limit=3)] == ["broken.jpg", POISON, "walk.avi[0]"]
    assert (store.runs.empty_inputs(run.id), store.runs.empty_inputs(run.id, limit=0)) == (["empty.jpg"], [])
    assert store.runs.list() == [ended] == [store.runs.get(run.id)]
    with pytest.raises(StoreError, match="has succeeded"):
        store.runs.take_lease(run.id)


def test_reason_of_failed_run_holds_no_credentials(store: Store) -> None:
    run = begin(store)
    store.runs.take_lease(run.id)
    store.runs.finish(run.id, "failed", error="s3://key:word@bucket/p is gone")
    assert store.runs.get(run.id).error == "s3://***@bucket/p is gone"


def test_runs_are_found(store: Store) -> None:
    first, second, other = begin(store), begin(store), begin(store, fingerprint="e" * 64)
    assert [run.id for run in store.runs.list()] == [first.id, second.id, other.id]
    assert store.runs.find_unfinished(FINGERPRINT) == second
    store.shards.plan(second.id, [])
    drive(store, second.id)
    assert store.runs.find_unfinished(FINGERPRINT) == first
    assert store.runs.find_unfinished("d" * 64) is None
    with pytest.raises(StoreError, match=r"run nonsense is not in the store"):
        store.runs.get("nonsense")
    with pytest.raises(StoreError, match=r"model b+ is not registered"):
        store.runs.create(fingerprint=FINGERPRINT, config={}, model="b" * 64, command="")


def test_another_configuration_is_named(store: Store) -> None:
    run = begin(store)
    config = {"model": MODEL, "fps": 6, "detector": {"name": "hog"}}
    assert store.runs.differences(FINGERPRINT, config) == [
        "detector: None there, {'name': 'hog'} here",
        "fps: 5 there, 6 here",
    ]
    store.runs.require_fingerprint(run.id, FINGERPRINT, config)
    with pytest.raises(FingerprintMismatch, match=r"fps: 5 there, 6 here"):
        store.runs.require_fingerprint(run.id, "0" * 64, config)


def test_one_live_driver_at_a_time(store: Store) -> None:
    run = begin(store)
    here = Owner.current()
    alive = Owner(here.host, os.getppid())
    store.runs.take_lease(run.id, alive)
    with pytest.raises(StoreError, match=rf"driven by process {alive.pid} on {alive.host}"):
        store.runs.take_lease(run.id)
    with pytest.raises(StoreError, match=r"no longer by process"):
        store.runs.heartbeat(run.id)
    with pytest.raises(StoreError, match=r"no longer by process"):
        store.runs.finish(run.id, "failed")
    store.runs.release_lease(run.id)
    assert store.runs.get(run.id).pid == alive.pid
    store.runs.heartbeat(run.id, alive)
    store.runs.release_lease(run.id, alive)
    assert store.runs.take_lease(run.id).pid == here.pid
    assert store.runs.take_lease(run.id).pid == here.pid


def test_a_dead_driver_gives_way(store: Store) -> None:
    run = begin(store)
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    dead = Owner(Owner.current().host, process.pid or 0)
    store.runs.take_lease(run.id, dead)
    assert store.runs.take_lease(run.id) != dead


@pytest.mark.parametrize(
    ("host", "silent", "held"), [("far", 50, True), ("far", 70, False), (None, 70, True), (None, 3700, False)]
)
def test_a_silent_driver_gives_way(store: Store, host: str | None, silent: float, held: bool) -> None:
    run = begin(store)
    owner = Owner(host or Owner.current().host, os.getppid())
    store.runs.take_lease(run.id, owner)
    with store.database.write() as session:
        session.execute(update(RunRow).values(heartbeat=datetime.now(UTC) - timedelta(seconds=silent)))
    if held:
        with pytest.raises(StoreError, match="being driven"):
            store.runs.take_lease(run.id)
    else:
        store.runs.take_lease(run.id)


def test_cancelled_and_resumed(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, [images("one.jpg")])
    assert store.runs.request_cancel(run.id).status == "cancelled"
    store.runs.take_lease(run.id)
    assert store.runs.get(run.id).status == "running"
    assert store.runs.request_cancel(run.id).status == "running"
    assert store.runs.get(run.id).cancel_requested
    with pytest.raises(StoreError, match=r"shards that are not done.*vestigo runs resume"):
        store.runs.finish(run.id, "succeeded")
    assert store.runs.finish(run.id, "cancelled").status == "cancelled"
    assert drive(store, run.id).status == "succeeded"
    assert store.runs.request_cancel(run.id).status == "succeeded"


def test_an_input_is_planned_once_per_fingerprint(store: Store) -> None:
    run, again = begin(store), begin(store)
    store.shards.plan(run.id, [images("one.jpg", "two.jpg")])
    keys = ["archive:one.jpg", "archive:three.jpg"]
    assert store.shards.unplanned(FINGERPRINT, keys) == {"archive:three.jpg"}
    assert store.shards.unplanned("e" * 64, keys) == set(keys)
    assert store.shards.unplanned(FINGERPRINT, []) == set()
    assert store.shards.other_fingerprints("e" * 64, keys) == {FINGERPRINT}
    assert store.shards.other_fingerprints(FINGERPRINT, keys) == set()
    with pytest.raises(StoreError, match=r"input of archive is planned already"):
        store.shards.plan(again.id, [images("two.jpg", "three.jpg")])
    with pytest.raises(StoreError, match=r"input of archive is planned already"):
        store.shards.plan(again.id, [images("four.jpg", "four.jpg")])
    assert store.shards.unplanned(FINGERPRINT, keys) == {"archive:three.jpg"}
    assert not store.runs.get(again.id).planned
    assert store.check().intact


def test_plan_sees_earlier_shards(store: Store) -> None:
    run = begin(store)

    def shards() -> Iterator[ShardPlan]:
        yield images("one.jpg")
        assert store.shards.unplanned(FINGERPRINT, ["archive:one.jpg"]) == set()
        yield from video("walk.avi", slices=2)
        yield from video("run.avi", slices=1)

    assert store.shards.plan(run.id, shards()) == 6
    assert store.runs.get(run.id).planned


def test_a_video_is_planned_whole_or_not_at_all(store: Store) -> None:
    run = begin(store)

    def interrupted() -> Iterator[ShardPlan]:
        yield images("one.jpg")
        yield from list(video("walk.avi", slices=3))[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.shards.plan(run.id, interrupted())
    assert [task.kind for task in store.shards.pending(run.id, limit=9)] == ["images"]
    assert not store.runs.get(run.id).planned
    store.shards.plan(run.id, video("walk.avi", slices=3))
    assert [task.kind for task in store.shards.pending(run.id, limit=9)] == ["images", "slice", "slice", "slice"]


def test_shards_come_in_order_and_an_assembly_after_its_slices(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, [*video("walk.avi", slices=2), *video("run.avi", slices=1), images("one.jpg")])
    first = store.shards.pending(run.id, limit=9)
    assert [(task.kind, task.after) for task in first] == [
        ("slice", "walk.avi"),
        ("slice", "walk.avi"),
        ("slice", "run.avi"),
        ("images", None),
    ]
    assert first[3].inputs == ("one.jpg",)
    assert first[3].spec == {"names": ["one.jpg"]}
    assert store.shards.pending(run.id, limit=2, busy=[first[0].id, first[2].id]) == [first[1], first[3]]
    work_off(store, first[1])
    assert [task.kind for task in store.shards.pending(run.id, limit=9)] == ["slice", "slice", "images"]
    work_off(store, first[0])
    assert next((task.kind, task.after) for task in store.shards.pending(run.id, limit=9)) == ("assembly", "walk.avi")


def test_driver_without_lease_cannot_commit(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, [images("one.jpg")])
    (task,) = store.shards.pending(run.id, limit=1)
    written = store.root.write("crops", run.id, task.id, crop_table([crop("one.jpg")]))
    other = Owner("elsewhere", 1)
    store.runs.take_lease(run.id, other)
    outcomes = [InputOutcome(0, "done", rows=1)]
    with pytest.raises(LeaseLost, match=r"driven by process 1 on elsewhere, no longer by"):
        store.shards.commit(task.id, files=[written], outcomes=outcomes)
    with pytest.raises(LeaseLost, match=r"driven by process 1 on elsewhere, no longer by"):
        store.shards.record_death(task.id, "killed", pick)
    assert store.shards.pending(run.id, limit=1) == [task]
    store.shards.commit(task.id, files=[written], outcomes=outcomes, owner=other)
    assert store.runs.finish(run.id, "succeeded", other).status == "succeeded"


def test_inconsistent_commit_is_refused(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, [images("one.jpg", "two.jpg")])
    task = store.shards.pending(run.id, limit=1)[0]
    written = store.root.write("crops", run.id, task.id, crop_table([crop("one.jpg")]))
    done, empty = InputOutcome(0, "done", rows=1), InputOutcome(1, "empty")
    for outcomes, complaint in (
        ([done], "2 inputs and 1 outcomes"),
        ([done, done], "do not match"),
        ([done, InputOutcome(1, "done", rows=1)], "wrote 1 rows of crops for 2"),
        ([done, InputOutcome(1, "done")], "is done with 0 rows"),
        ([done, InputOutcome(1, "empty", rows=1)], "is empty with 1 rows"),
        ([done, InputOutcome(1, "quarantined")], "reason None"),
    ):
        with pytest.raises(StoreError, match=complaint):
            store.shards.commit(task.id, files=[written], outcomes=outcomes)
    missing = store.root.write("crops", run.id, task.id, crop_table([crop("one.jpg")]))
    DataRoot(store.data).folder.delete(missing.path)
    with pytest.raises(StoreError, match="has None bytes"):
        store.shards.commit(task.id, files=[missing], outcomes=[done, empty])
    assert store.shards.pending(run.id, limit=1) == [task]
    store.shards.commit(task.id, files=[written], outcomes=[done, empty])
    with pytest.raises(StoreError, match="is done, not pending"):
        store.shards.commit(task.id, files=[written], outcomes=[done, empty])
    with pytest.raises(StoreError, match="is done, not pending"):
        store.shards.record_death(task.id, "late", pick)
    assert store.check().problems == ()


def test_deadly_input_is_found_by_bisection(store: Store) -> None:
    run = begin(store)
    names = [f"{number}.jpg" for number in range(6)]
    store.shards.plan(run.id, [images(*names[:5], POISON), images(*names[5:])])
    fates = []
    while tasks := store.shards.pending(run.id, limit=1):
        task = tasks[0]
        assert task.spec["names"] == list(task.inputs)
        if POISON in task.inputs:
            fates.append((len(task.inputs), store.shards.record_death(task.id, "exit code -9", pick)))
        else:
            work_off(store, task)
    sizes = [6, 6, 3, 3, 2, 2, 1, 1]
    assert fates == list(zip(sizes, ["retry", "split"] * 3 + ["retry", "quarantined"], strict=True))
    totals = store.runs.totals(run.id)
    assert (totals.inputs, totals.done, totals.quarantined) == (7, 6, 1)
    assert [(f.input, f.detail) for f in store.runs.failures(run.id)] == [(POISON, "exit code -9")]
    assert store.check().problems == ()


def test_deadly_assembly_quarantines_its_slices(store: Store) -> None:
    run = begin(store)
    store.shards.plan(run.id, [*video("walk.avi", slices=2), images("one.jpg")])
    for task in store.shards.pending(run.id, limit=9):
        work_off(store, task)
    assembly = store.shards.pending(run.id, limit=1)[0]
    assert [store.shards.record_death(assembly.id, "out of memory", pick) for _ in range(2)] == ["retry", "quarantined"]
    totals = store.runs.totals(run.id)
    assert (totals.done, totals.quarantined, totals.pending, totals.crops) == (1, 2, 0, 1)
    assert store.shards.file_paths(run.id, kind="candidates") == []
    store.runs.take_lease(run.id)
    store.runs.finish(run.id, "succeeded")
    assert store.check().problems == ()
