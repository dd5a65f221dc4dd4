from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.support.fake_pipeline import begin
from vestigo.store.open import Store
from vestigo.store.sql.tables import RunRow
from vestigo_models.errors import LeaseLost
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.runs import driver


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(driver, "HEARTBEAT_S", 0.001)
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.mark.parametrize("error", [OSError("the network is down"), RuntimeError("anything"), TimeoutError()])
def test_failed_heartbeat_is_repeated(store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    run = begin(store)
    beats, enough = [], threading.Event()
    beat = store.runs.heartbeat

    def fail_first(run_id: str) -> None:
        beats.append(run_id)
        if len(beats) == 1:
            raise error
        beat(run_id)
        if len(beats) == 3:
            enough.set()

    monkeypatch.setattr(type(store.runs), "heartbeat", lambda self, run_id: fail_first(run_id))
    with driver.hold_lease(store, run.id) as check_lease:
        assert enough.wait(60)
        check_lease()
        assert store.runs.is_driven(run.id)


def test_lost_lease_ends_the_heartbeat_and_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(store)
    lost = threading.Event()
    beat = type(store.runs).heartbeat

    def beat_until_lost(self: object, run_id: str) -> None:
        try:
            beat(self, run_id)
        except LeaseLost:
            lost.set()
            raise

    monkeypatch.setattr(type(store.runs), "heartbeat", beat_until_lost)

    def drive_until_lost() -> None:
        with driver.hold_lease(store, run.id) as check_lease:
            with store.database.write() as session:
                session.execute(update(RunRow).values(host="elsewhere", pid=1))
            assert lost.wait(60)
            check_lease()

    with pytest.raises(LeaseLost, match="driven by process 1 on elsewhere"):
        drive_until_lost()
    assert store.runs.get(run.id).host == "elsewhere"


@pytest.mark.parametrize(
    ("device", "share", "reserved"), [("cpu", None, 0.0), ("cpu", 0.5, 0.5), ("auto", None, None), ("cuda:1", 1.0, 1.0)]
)
def test_runs_on_cpus_reserve_no_gpu(
    store: Store, monkeypatch: pytest.MonkeyPatch, device: str, share: float | None, reserved: float | None
) -> None:
    opened: list[float | None] = []
    monkeypatch.setattr(
        "vestigo_workers.executors.ray.RayExecutor",
        lambda factory, *, actors, gpus_per_actor: opened.append(gpus_per_actor),
    )
    settings = ExecutorSettings(executor="ray", device=device, gpus_per_actor=share)
    driver.open_executor(store, "run", lambda: None, settings)
    assert opened == [reserved]
