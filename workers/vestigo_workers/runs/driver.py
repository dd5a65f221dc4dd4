"""The driver of a run: submits shards to an executor, commits their results, counts deaths and holds the lease."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from vestigo.store.faults import fault_point
from vestigo.store.open import Store
from vestigo.store.runs.records import Owner, RunStatus, ShardTask
from vestigo_models.errors import LeaseLost, StoreUnavailable, VestigoError, first_line
from vestigo_models.progress import ProgressCallback
from vestigo_workers.executors.base import Died, Executor, ExecutorSettings, ShardResult, WorkerFactory
from vestigo_workers.executors.start import start_executor
from vestigo_workers.indexing.plan import pick_spec
from vestigo_workers.runs.result import RunResult

HEARTBEAT_S = 5.0
log = logging.getLogger(__name__)


def open_executor(
    store: Store, run_id: str, factory: WorkerFactory[ShardTask, ShardResult], settings: ExecutorSettings
) -> Executor[ShardTask, ShardResult]:
    """Start the executor that the settings name for the pending shards of a run; an assembly waits for its slices."""
    pending = store.shards.pending(run_id, limit=4) if settings.executor == "auto" else []
    return start_executor(factory, settings, shards=sum(task.kind != "assembly" for task in pending))


@contextmanager
def hold_lease(store: Store, run_id: str) -> Iterator[Callable[[], None]]:
    """Hold the lease of a run, with a heartbeat that continues while a shard takes minutes; release it after an error.

    Yields:
        A check that this process still holds the run; it raises LeaseLost if another driver took the lease.
    """
    stop = threading.Event()
    lost: list[LeaseLost] = []

    def beat() -> None:
        while not lost and not stop.wait(HEARTBEAT_S):
            try:
                store.runs.heartbeat(run_id)
            except LeaseLost as error:
                lost.append(error)
            except Exception as error:  # noqa: BLE001  (whatever fails once, only a lost lease ends the heartbeat)
                log.warning("run %s: no heartbeat (%s), trying again", run_id, first_line(error))

    def check() -> None:
        if lost:
            raise lost[0]

    store.runs.take_lease(run_id)
    heartbeat = threading.Thread(target=beat, name="heartbeat", daemon=True)
    heartbeat.start()
    failed = True
    try:
        yield check
        failed = False
    finally:
        stop.set()
        heartbeat.join()
        if failed and not lost:
            # Without a database the lease ends by itself, when the heartbeat is old.
            with suppress(StoreUnavailable):
                store.runs.release_lease(run_id)


def drive(
    store: Store, run_id: str, open_executor: Callable[[], Executor[ShardTask, ShardResult]], progress: ProgressCallback
) -> RunResult:
    """Take the lease of a planned run, process its pending shards and release it.

    `open_executor` is not called if no shard is pending. `progress` receives the inputs that have ended and all inputs.

    Raises:
        StoreError: Another process drives the run.
        LeaseLost: Another process took it over.
        VestigoError: The run cannot continue; its status is `failed` and it can be resumed.
    """
    with hold_lease(store, run_id) as check_lease:
        owner = Owner.current()
        executor: Executor[ShardTask, ShardResult] | None = None
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
                check_lease()
                if isinstance(ended, Died):
                    store.shards.record_death(task.id, ended.reason, pick_spec, owner)
                else:
                    result = ended.result
                    fault_point("driver.before-commit")
                    store.shards.commit(
                        task.id, files=result.files, outcomes=result.outcomes, failures=result.failures, owner=owner
                    )
                    fault_point("driver.after-commit")
                totals = store.runs.totals(run_id)
                progress(totals.inputs - totals.pending, totals.inputs)
        except VestigoError as error:
            with suppress(LeaseLost, StoreUnavailable):
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
        kind: store.shards.file_paths(task.run_id, kind=kind, after=task.after) for kind in ("frames", "candidates")
    }
    return replace(task, spec={**task.spec, "files": files})
