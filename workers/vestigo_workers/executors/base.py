"""The interface of executors, and the one that processes shards in this process; `ray` has the other.

The driver submits tasks and takes results as they end. Only the driver commits, retries and quarantines. All executors
pass the same tests and produce the same visible rows.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from vestigo.store.parquet.files import WrittenFile
from vestigo.store.runs.records import InputFailure, InputOutcome, Run, ShardTask
from vestigo_models.errors import StoreError, VestigoError


class ExecutorSettings(BaseModel):
    """Settings that say where and in which portions a run is processed; they change no row.

    Attributes:
        executor: `inline`, `ray`, or `auto` (Ray where several shards can run in parallel).
        actors: Ray actors; by default one per GPU share or one per CPU.
        gpus_per_actor: share of a GPU that an actor is pinned to; by default one GPU, or none if `device` is `cpu`.
        device: where the networks run: `auto`, `cpu`, `cuda`.
        shard_size: still images or stored crops per shard; a group of crops is never cut.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    executor: Literal["inline", "ray", "auto"] = "auto"
    actors: int | None = Field(default=None, ge=1)
    gpus_per_actor: float | None = Field(default=None, ge=0)
    device: str = "auto"
    shard_size: int = Field(default=256, ge=1)

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Return the settings that a run was started with.

        Raises:
            StoreError: Another version of Vestigo made the run.
        """
        try:
            return cls.model_validate_json(run.command)
        except ValueError:
            raise StoreError(f"run {run.id} was made by another version of Vestigo and cannot be resumed") from None


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """Files and outcomes of one shard, to be committed."""

    files: tuple[WrittenFile, ...] = ()
    outcomes: tuple[InputOutcome, ...] = ()
    failures: tuple[InputFailure, ...] = ()


class Worker(Protocol):
    """Loads its models once, then processes whole shards, in this process or in a Ray actor."""

    def process(self, task: ShardTask) -> ShardResult:
        """Process one shard and write its files; return what the driver commits."""
        ...


WorkerFactory = Callable[[], Worker]
"""Builds a worker where it runs; Ray pickles it, so it is a `partial` of a class and never a closure."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A processed shard; `result` is not committed yet."""

    task: ShardTask
    result: ShardResult


@dataclass(frozen=True, kw_only=True)
class Died:
    """A shard whose worker died, or that failed in a way that no single input explains."""

    task: ShardTask
    reason: str


class Executor(Protocol):
    """Runs tasks on workers, at most `slots` at a time."""

    slots: int

    def submit(self, task: ShardTask) -> None:
        """Submit one task; the caller keeps at most `slots` in flight."""
        ...

    def next(self) -> Finished | Died:
        """Wait for the next task that ends.

        Raises:
            VestigoError: The run cannot continue (disk full, model missing, no worker starts).
        """
        ...

    def close(self) -> None:
        """Release the workers and abandon the tasks in flight."""
        ...


def death_reason(error: BaseException) -> str:
    """Return one line for the catalogue: the type of `error` and its message, at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


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
