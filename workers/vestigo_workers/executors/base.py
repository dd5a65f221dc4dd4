"""The interface of executors, and the one that processes tasks in this process; `ray` has the other.

A driver submits tasks and takes results as they end: `vestigo_workers.runs.driver` commits the shards of a run,
`vestigo_workers.executors.batches` merges results in memory. Only drivers commit, retry and quarantine. All executors
pass the same tests and give the same results.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from vestigo.store.parquet.files import WrittenFile
from vestigo.store.runs.records import InputFailure, InputOutcome, Run
from vestigo_models.errors import StoreError, VestigoError

Task = TypeVar("Task")
Result = TypeVar("Result")
ConsumedTask = TypeVar("ConsumedTask", contravariant=True)
ProducedResult = TypeVar("ProducedResult", covariant=True)


class ExecutorSettings(BaseModel):
    """Settings that say where and in which portions work is processed; they change no result.

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


class Worker(Protocol[ConsumedTask, ProducedResult]):
    """Loads its models once, then processes whole tasks, in this process or in a Ray actor."""

    def process(self, task: ConsumedTask, /) -> ProducedResult:
        """Process one task; of a shard, write its files and return what the driver commits."""
        ...


WorkerFactory = Callable[[], Worker[Task, Result]]
"""Builds a worker where it runs; Ray pickles it, so it is a `partial` of a class and never a closure."""


@dataclass(frozen=True, kw_only=True)
class Finished(Generic[Task, Result]):
    """A processed task; the `result` of a shard is not committed yet."""

    task: Task
    result: Result


@dataclass(frozen=True, kw_only=True)
class Died(Generic[Task]):
    """A task whose worker died, or that failed in a way that no single input explains."""

    task: Task
    reason: str


class Executor(Protocol[Task, Result]):
    """Runs tasks on workers, at most `slots` at a time."""

    slots: int

    def submit(self, task: Task) -> None:
        """Submit one task; the caller keeps at most `slots` in flight."""
        ...

    def next(self) -> Finished[Task, Result] | Died[Task]:
        """Wait for the next task that ends.

        Raises:
            VestigoError: The work cannot continue (disk full, model missing, no worker starts).
        """
        ...

    def close(self) -> None:
        """Release the workers and abandon the tasks in flight."""
        ...


def death_reason(error: BaseException) -> str:
    """Return one line for users: the type of `error` and its message, at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


class InlineExecutor(Generic[Task, Result]):
    """Runs tasks in this process, on one thread as the actors do: small jobs, tests, debugging."""

    slots = 1

    def __init__(self, factory: WorkerFactory[Task, Result]) -> None:
        self._factory = factory
        self._worker: Worker[Task, Result] | None = None
        self._queue: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Queue one task."""
        self._queue.append(task)

    def next(self) -> Finished[Task, Result] | Died[Task]:
        """Process the oldest queued task."""
        task = self._queue.popleft()
        with one_thread():
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the order of sums, and so the last bits, do not depend on the number of cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
