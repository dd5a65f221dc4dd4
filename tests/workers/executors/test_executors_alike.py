"""One suite for both executors: the same work, the same visible rows, whatever dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import fake_workers as fakes
from tests.support.fake_workers import FakeFactory, fake_shards
from vestigo.store.open import Store
from vestigo.store.runs.records import RunTotals
from vestigo_models.errors import WorkError
from vestigo_workers.executors.base import Executor, InlineExecutor
from vestigo_workers.runs.driver import drive

pytestmark = pytest.mark.slow

OpenExecutor = Callable[[FakeFactory], Executor]
NAMES = [f"in{i:03d}" for i in range(40)] + ["bad1", "bad2", "empty1"]


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def open_executor(request: pytest.FixtureRequest) -> Iterator[OpenExecutor]:
    if request.param == "inline":
        yield InlineExecutor
        return
    request.getfixturevalue("ray_cluster")
    from ray import cloudpickle

    from vestigo_workers.executors.ray import RayExecutor

    cloudpickle.register_pickle_by_value(fakes)
    yield lambda factory: RayExecutor(factory, actors=2)
    cloudpickle.unregister_pickle_by_value(fakes)


def run_all(store: Store, names: list[str], size: int, opener: Callable[[], Executor]) -> RunTotals:
    store.models.register("m" * 64, name="fake", location="nowhere")
    run = store.runs.create(fingerprint="f" * 64, config={"a": 1}, model="m" * 64, command="{}")
    store.shards.plan(run.id, fake_shards(names, size))
    return drive(store, run.id, opener, lambda done, total: None).totals


def test_every_input_ends_once(tmp_path: Path, open_executor: OpenExecutor) -> None:
    with Store.open(tmp_path / "s") as store:
        totals = run_all(store, NAMES, 6, lambda: open_executor(FakeFactory(store.data)))
        assert (totals.inputs, totals.done, totals.empty, totals.quarantined, totals.pending) == (43, 40, 1, 2, 0)
        report = store.check()
        assert report.intact, report.problems
        assert report.crops == 40


def test_rows_do_not_depend_on_shard_size(tmp_path: Path, open_executor: OpenExecutor) -> None:
    digests = set()
    for size in (1, 7, 100):
        with Store.open(tmp_path / str(size)) as store:
            run_all(store, NAMES[:20], size, lambda store=store: open_executor(FakeFactory(store.data)))
            digests.add(store.check().digest)
    assert len(digests) == 1


def test_only_deadly_input_is_quarantined(tmp_path: Path, open_executor: OpenExecutor) -> None:
    kill = open_executor is not InlineExecutor
    with Store.open(tmp_path / "s") as store:
        factory = FakeFactory(store.data, deadly=("in005",), kill=kill)
        totals = run_all(store, NAMES[:16], 8, lambda: open_executor(factory))
        assert (totals.done, totals.quarantined, totals.pending) == (15, 1, 0)
        assert [failure.input for failure in store.runs.failures(store.runs.list()[-1].id)] == ["in005"]
        assert store.check().intact


def test_cancelled_run_resumes(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        store.models.register("m" * 64, name="fake", location="nowhere")
        run = store.runs.create(fingerprint="f" * 64, config={}, model="m" * 64, command="{}")
        store.shards.plan(run.id, fake_shards(NAMES[:12], 3))
        first = drive(
            store,
            run.id,
            lambda: InlineExecutor(FakeFactory(store.data)),
            lambda done, total: store.runs.request_cancel(run.id) and None,
        )
        assert first.run.status == "cancelled"
        assert 0 < first.totals.pending < 12
        again = drive(store, run.id, lambda: InlineExecutor(FakeFactory(store.data)), lambda done, total: None)
        assert (again.run.status, again.totals.done, again.totals.pending) == ("succeeded", 12, 0)


@pytest.mark.ray
def test_worker_killed_from_outside_loses_no_input(tmp_path: Path, ray_cluster: str) -> None:
    from ray import cloudpickle

    from vestigo_workers.executors.ray import RayExecutor

    cloudpickle.register_pickle_by_value(fakes)
    killed: list[int] = []
    with Store.open(tmp_path / "s") as store:
        opened: list[RayExecutor] = []

        def opener() -> Executor:
            opened.append(RayExecutor(FakeFactory(store.data), actors=2))
            return opened[0]

        def report(done: int, total: int | None) -> None:
            if not killed:
                killed.append(opened[0].pids[0])
                os.kill(killed[0], signal.SIGKILL)

        store.models.register("m" * 64, name="fake", location="nowhere")
        run = store.runs.create(fingerprint="f" * 64, config={}, model="m" * 64, command="{}")
        store.shards.plan(run.id, fake_shards(NAMES[:40], 2))
        totals = drive(store, run.id, opener, report).totals
        assert killed
        assert (totals.done, totals.quarantined, totals.pending) == (40, 0, 0)
        assert store.check().intact


@pytest.mark.ray
def test_request_for_missing_gpus_is_an_error(ray_cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import cloudpickle

    from vestigo_workers.executors import ray as ray_executor

    cloudpickle.register_pickle_by_value(fakes)
    monkeypatch.setattr(ray_executor, "START_TIMEOUT_S", 2.0)
    with pytest.raises(WorkError, match="no Ray actor started"):
        ray_executor.RayExecutor(FakeFactory("nowhere"), actors=1, gpus_per_actor=1)
