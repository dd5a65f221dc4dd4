"""The driver of a run: hands shards to an executor, commits what comes back, counts deaths, keeps the lease."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType

from vestigo.store.faults import fault_point
from vestigo.store.open import Store
from vestigo.store.runs.records import Run, RunStatus, RunTotals, ShardTask
from vestigo_models.errors import StoreError, WorkError
from vestigo_workers.executors.base import Died, Executor, Finished
from vestigo_workers.indexing.plan import pick_spec
from vestigo_workers.indexing.worker import ShardResult

HEARTBEAT_S = 5.0

Report = Callable[[int, int | None], None]


class Lease:
    """Holds a run for this process and keeps its heartbeat going, also while a shard takes minutes."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._lost: StoreError | None = None

    def __enter__(self) -> Lease:
        self._store.take_lease(self._run_id)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._lost is None and error is not None:
            self._store.release(self._run_id)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                self._store.heartbeat(self._run_id)
            except StoreError as error:
                self._lost = error
                return

    def check(self) -> None:
        """Raise StoreError once another driver has taken the run over."""
        if self._lost is not None:
            raise self._lost


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended."""

    run: Run
    totals: RunTotals


def drive(store: Store, run_id: str, open_executor: Callable[[], Executor], report: Report) -> Ended:
    """Work off every pending shard of a planned run; the caller holds the lease.

    Raises:
        VestigoError: the work cannot go on; the run is `failed` and can be resumed.
    """
    with Lease(store, run_id) as lease:
        executor: Executor | None = None
        try:
            busy: dict[int, ShardTask] = {}
            while not store.cancel_requested(run_id):
                free = (executor.slots if executor else 1) - len(busy)
                tasks = store.pending(run_id, limit=free, busy=tuple(busy))
                if executor is None:
                    # No pool is started for a run with nothing to do.
                    if not tasks:
                        break
                    executor = open_executor()
                for task in tasks:
                    busy[task.id] = task
                    executor.submit(with_files(store, task))
                if not busy:
                    break
                if tasks and len(busy) < executor.slots:
                    continue
                ended = executor.next()
                task = busy.pop(ended.task.id)
                lease.check()
                settle(store, task, ended)
                totals = store.totals(run_id)
                report(totals.inputs - totals.pending, totals.inputs)
        except (WorkError, StoreError) as error:
            store.finish_run(run_id, "failed", error=str(error))
            raise
        finally:
            if executor is not None:
                executor.close()
        fault_point("driver.before-finish")
        totals = store.totals(run_id)
        status: RunStatus = "succeeded" if not store.pending(run_id, limit=1) else "cancelled"
        return Ended(run=store.finish_run(run_id, status), totals=totals)


def with_files(store: Store, task: ShardTask) -> ShardTask:
    """Tell an assembly shard where the committed parts of its video lie; an actor has no database."""
    if task.kind != "assembly":
        return task
    files = {
        kind: [file.path for file in store.files(task.run_id, kind=kind, after=task.after)]
        for kind in ("detections", "candidates")
    }
    return replace(task, spec={**task.spec, "files": files})


def settle(store: Store, task: ShardTask, ended: Finished | Died) -> None:
    """Commit a finished shard, or count a death against it."""
    if isinstance(ended, Died):
        store.record_death(task.id, ended.reason, pick_spec)
        return
    result: ShardResult = ended.result
    fault_point("driver.before-commit")
    store.commit(task.id, files=result.files, outcomes=result.outcomes, failures=result.failures)
    fault_point("driver.after-commit")
