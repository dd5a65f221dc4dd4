"""Process inputs that belong to no run: batch by batch on an executor, with the results in memory.

A batch is processed by one worker. After `MAX_DEATHS` deaths of its worker a batch of several inputs is divided into
halves, and a single input is given up, as for the shards of a run: an input that kills its worker costs itself alone.
Results come in any order; `Batch.first` gives the order of the inputs.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar

from vestigo.store.runs.shards import MAX_DEATHS
from vestigo_models.errors import BadInput, WorkError
from vestigo_models.progress import ProgressCallback
from vestigo_workers.executors.base import Died, Executor, ExecutorSettings, InlineExecutor, Result, WorkerFactory
from vestigo_workers.executors.start import start_executor, uses_ray

Input = TypeVar("Input")

DIED = "worker-died"
"""Reason of an input that was given up, as in the ledger of a run."""
FAILURES_OF_ALL = 3
"""Inputs that are given up before any batch has a result; then no input is the cause, and the work fails."""


@dataclass(frozen=True, kw_only=True)
class Batch(Generic[Input]):
    """Consecutive inputs that one worker processes; `first` is the position of the first among all inputs."""

    first: int
    inputs: tuple[Input, ...]
    deaths: int = 0

    def halves(self) -> tuple[Self, Self]:
        """Divide a batch of at least two inputs; the halves start with no deaths."""
        middle = len(self.inputs) // 2
        return (
            replace(self, inputs=self.inputs[:middle], deaths=0),
            replace(self, first=self.first + middle, inputs=self.inputs[middle:], deaths=0),
        )


def cut_batches(inputs: Sequence[Input], size: int) -> list[Batch[Input]]:
    """Divide inputs into batches of at most `size`; no inputs make one empty batch."""
    starts = range(0, len(inputs), size) if inputs else (0,)
    return [Batch(first=start, inputs=tuple(inputs[start : start + size])) for start in starts]


class BatchPool(Generic[Input, Result]):
    """Workers that process batches of inputs; they start with the first batch and stay until `close`.

    Args:
        factory: Picklable builder of a worker.
        settings: The executor, and its actors.
    """

    def __init__(self, factory: WorkerFactory[Batch[Input], Result], settings: ExecutorSettings) -> None:
        self._factory = factory
        self._settings = settings
        self._executor: Executor[Batch[Input], Result] | None = None

    def process(
        self, batches: Iterable[Batch[Input]], progress: ProgressCallback
    ) -> Iterator[tuple[Batch[Input], Result | BadInput]]:
        """Yield each batch with its result, in the order in which they end; the yielded batches hold each input once.

        A `BadInput` stands for the result of a single input that was given up. `progress` receives the inputs that have
        ended and all inputs.

        Raises:
            VestigoError: A worker raised it, no worker starts, or workers die of every input.
        """
        waiting = deque(batches)
        total = sum(len(batch.inputs) for batch in waiting)
        executor = self._start(len(waiting))
        running = ended_inputs = failures = results = 0
        try:
            while waiting or running:
                while waiting and running < executor.slots:
                    executor.submit(waiting.popleft())
                    running += 1
                ended = executor.next()
                running -= 1
                result: Result | BadInput
                if isinstance(ended, Died):
                    batch = replace(ended.task, deaths=ended.task.deaths + 1)
                    if batch.deaths < MAX_DEATHS:
                        waiting.appendleft(batch)
                        continue
                    if len(batch.inputs) > 1:
                        waiting.extendleft(reversed(batch.halves()))
                        continue
                    failures += 1
                    if not batch.inputs or (not results and failures == FAILURES_OF_ALL):
                        raise WorkError(f"workers fail on every input: {ended.reason}")
                    result = BadInput(DIED, ended.reason)
                else:
                    batch, result = ended.task, ended.result
                    results += 1
                ended_inputs += len(batch.inputs)
                yield batch, result
                progress(ended_inputs, total)
            running = 0
        finally:
            if running:
                # The results of these batches would be those of a later call.
                self.close()

    def _start(self, shards: int) -> Executor[Batch[Input], Result]:
        if isinstance(self._executor, InlineExecutor) and uses_ray(self._settings, shards=shards):
            self.close()
        if self._executor is None:
            self._executor = start_executor(self._factory, self._settings, shards=shards)
        return self._executor

    def close(self) -> None:
        """Release the workers."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
