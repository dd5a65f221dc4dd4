"""The driver of a run: submits shards to an executor, commits their results, counts deaths and holds the lease."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from vestigo.store.faults import fault_point
from vestigo.store.open import Store
from vestigo.store.runs.records import RunStatus, ShardTask
from vestigo_models.errors import StoreError, WorkError
from vestigo_models.progress import ProgressCallback
from vestigo_workers.executors.base import Died, Executor, ExecutorSettings, Finished, WorkerFactory
from vestigo_workers.executors.inline import InlineExecutor
from vestigo_workers.indexing.plan import pick_spec
from vestigo_workers.runs.result import RunResult

HEARTBEAT_S = 5.0


def open_executor(store: Store, run_id: str, factory: WorkerFactory, settings: ExecutorSettings) -> Executor:
    """Start the executor that the settings name; `auto` is Ray if shards can run in parallel."""
    if settings.executor == "inline" or (settings.executor == "auto" and not _is_parallel(store, run_id, settings)):
        return InlineExecutor(factory)
    from vestigo_workers.executors.ray import RayExecutor

    return RayExecutor(factory, actors=settings.actors, gpus_per_actor=settings.gpus_per_actor)


def _is_parallel(store: Store, run_id: str, settings: ExecutorSettings) -> bool:
    """Tell whether actors pay off: a cluster or several actors were requested, or two shards can run in parallel."""
    if os.environ.get("RAY_ADDRESS") or (settings.actors or 0) > 1:
        return True
    shards = [task for task in store.shards.pending(run_id, limit=4) if task.kind != "assembly"]
    return len(shards) > 1 and (os.cpu_count() or 1) > 1


class Lease:
    """The lease of a run and its heartbeat, which continues while a shard takes minutes."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._lost: StoreError | None = None

    def __enter__(self) -> Lease:
        self._store.runs.take_lease(self._run_id)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._lost is None and error is not None:
            self._store.runs.release_lease(self._run_id)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                self._store.runs.heartbeat(self._run_id)
            except StoreError as error:
                self._lost = error
                return

    def check(self) -> None:
        """Check that this process still holds the run.

        Raises:
            StoreError: Another driver took the lease.
        """
        if self._lost is not None:
            raise self._lost


def drive(store: Store, run_id: str, open_executor: Callable[[], Executor], progress: ProgressCallback) -> RunResult:
    """Take the lease of a planned run, process its pending shards and release it.

    Args:
        store: The store.
        run_id: The run.
        open_executor: Starts the executor; not called if no shard is pending.
        progress: Receives the inputs that have ended and all inputs of the run.

    Raises:
        StoreError: Another process drives the run, or took it over.
        VestigoError: The run cannot continue; its status is `failed` and it can be resumed.
    """
    with Lease(store, run_id) as lease:
        executor: Executor | None = None
        try:
            busy: dict[int, ShardTask] = {}
            while not store.runs.get(run_id).cancel_requested:
                free = (executor.slots if executor else 1) - len(busy)
                tasks = store.shards.pending(run_id, limit=free, busy=tuple(busy))
                if executor is None:
                    if not tasks:
                        break
                    executor = open_executor()
                for task in tasks:
                    busy[task.id] = task
                    executor.submit(_with_files(store, task))
                if not busy:
                    break
                if tasks and len(busy) < executor.slots:
                    continue
                ended = executor.next()
                task = busy.pop(ended.task.id)
                lease.check()
                _settle(store, task, ended)
                totals = store.runs.totals(run_id)
                progress(totals.inputs - totals.pending, totals.inputs)
        except (WorkError, StoreError) as error:
            store.runs.finish(run_id, "failed", error=str(error))
            raise
        finally:
            if executor is not None:
                executor.close()
        fault_point("driver.before-finish")
        totals = store.runs.totals(run_id)
        status: RunStatus = "succeeded" if not store.shards.pending(run_id, limit=1) else "cancelled"
        return RunResult(run=store.runs.finish(run_id, status), totals=totals)


def _with_files(store: Store, task: ShardTask) -> ShardTask:
    """Add the committed files of its video to an assembly shard; an actor has no database."""
    if task.kind != "assembly":
        return task
    files = {
        kind: store.shards.file_paths(task.run_id, kind=kind, after=task.after) for kind in ("detections", "candidates")
    }
    return replace(task, spec={**task.spec, "files": files})


def _settle(store: Store, task: ShardTask, ended: Finished | Died) -> None:
    """Commit a finished shard, or count a death against it."""
    if isinstance(ended, Died):
        store.shards.record_death(task.id, ended.reason, pick_spec)
        return
    result = ended.result
    fault_point("driver.before-commit")
    store.shards.commit(task.id, files=result.files, outcomes=result.outcomes, failures=result.failures)
    fault_point("driver.after-commit")
