"""The executor seam: one small interface under which shards are worked off, in-process or by Ray actors.

The driver submits tasks and takes results as they come; what is committed, retried or quarantined is the driver's
business alone. Both executors run the same suite of tests and must yield the same visible rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from vestigo.store.runs.records import ShardTask
from vestigo_models.errors import VestigoError


class Worker(Protocol):
    """Loads what it needs once, then processes whole shards; lives in this process or in a Ray actor."""

    def process(self, task: ShardTask) -> Any:
        """Work off one shard, write its files and return what is to be committed."""
        ...


WorkerFactory = Callable[[], Worker]
"""Builds a worker where it will run; must be picklable for Ray (a dataclass with `__call__`, never a closure)."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A shard was worked off; `result` waits to be committed."""

    task: ShardTask
    result: Any


@dataclass(frozen=True, kw_only=True)
class Died:
    """The worker died of a shard, or failed in a way that no single input explains."""

    task: ShardTask
    reason: str


class Executor(Protocol):
    """Runs tasks on workers through a bounded window of `slots` tasks in flight."""

    slots: int

    def submit(self, task: ShardTask) -> None:
        """Hand over one task; the caller keeps at most `slots` in flight."""
        ...

    def next(self) -> Finished | Died:
        """Wait for the next task that ended.

        Raises:
            VestigoError: the work cannot go on at all (disk full, model gone, no worker starts).
        """
        ...

    def close(self) -> None:
        """Let go of the workers; tasks still in flight are abandoned."""
        ...


class InlineExecutor:
    """Works tasks off one after the other in this process: small jobs, tests, debugging."""

    slots = 1

    def __init__(self, factory: WorkerFactory) -> None:
        torch.set_num_threads(1)
        self._factory = factory
        self._worker: Worker | None = None
        self._queue: deque[ShardTask] = deque()

    def submit(self, task: ShardTask) -> None:
        """Queue one task."""
        self._queue.append(task)

    def next(self) -> Finished | Died:
        """Work off the oldest queued task."""
        task = self._queue.popleft()
        if self._worker is None:
            self._worker = self._factory()
        try:
            return Finished(task=task, result=self._worker.process(task))
        except VestigoError:
            raise
        except Exception as error:  # noqa: BLE001  (stands for the death of a worker process, whatever its cause)
            return Died(task=task, reason=death_reason(error))

    def close(self) -> None:
        """Forget the worker."""
        self._worker = None
        self._queue.clear()


def death_reason(error: BaseException) -> str:
    """Return one line for the catalogue: the type of `error` and its message, at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
