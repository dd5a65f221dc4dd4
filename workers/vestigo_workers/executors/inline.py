"""The executor that runs shards one after another in this process."""

from __future__ import annotations

from collections import deque

from vestigo.store.runs.records import ShardTask
from vestigo_models.errors import VestigoError
from vestigo_workers.executors.base import Died, Finished, Worker, WorkerFactory, death_reason


class InlineExecutor:
    """Runs tasks in this process: small jobs, tests, debugging."""

    slots = 1

    def __init__(self, factory: WorkerFactory) -> None:
        import torch

        torch.set_num_threads(1)
        self._factory = factory
        self._worker: Worker | None = None
        self._queue: deque[ShardTask] = deque()

    def submit(self, task: ShardTask) -> None:
        """Queue one task."""
        self._queue.append(task)

    def next(self) -> Finished | Died:
        """Process the oldest queued task."""
        task = self._queue.popleft()
        if self._worker is None:
            self._worker = self._factory()
        try:
            return Finished(task=task, result=self._worker.process(task))
        except VestigoError:
            raise
        except Exception as error:  # noqa: BLE001  (equals the death of a worker process, whatever its cause)
            return Died(task=task, reason=death_reason(error))

    def close(self) -> None:
        """Drop the worker and the queue."""
        self._worker = None
        self._queue.clear()
