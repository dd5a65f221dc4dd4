"""Workers of batches for tests: they square numbers, and die of some."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

from vestigo_workers.executors.base import Died, Finished
from vestigo_workers.executors.batches import Batch


@dataclass(frozen=True)
class SquareFactory:
    """Builds workers; a number of `deadly` kills their process, or raises if `kill` is false."""

    deadly: tuple[int, ...] = ()
    kill: bool = False
    once: str = ""  # a file that is written by the first death; the numbers are harmless from then on

    def __call__(self) -> SquareWorker:
        return SquareWorker(self)


class SquareWorker:
    def __init__(self, settings: SquareFactory) -> None:
        self.settings = settings

    def process(self, batch: Batch[int]) -> list[int]:
        settings = self.settings
        if set(batch.inputs) & set(settings.deadly) and not (settings.once and os.path.exists(settings.once)):
            if settings.once:
                open(settings.once, "x").close()
            if settings.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a deadly number")
        return [number**2 for number in batch.inputs]


class ShuffledExecutor:
    """Ends tasks in any order: `choose(n)` names one of the n tasks in flight."""

    def __init__(self, factory: Any, choose: Any, slots: int) -> None:
        self._worker, self._choose, self.slots = factory(), choose, slots
        self.tasks: list[Any] = []
        self.is_closed = False

    def submit(self, task: Any) -> None:
        assert len(self.tasks) < self.slots
        self.tasks.append(task)

    def next(self) -> Any:
        task = self.tasks.pop(self._choose(len(self.tasks)))
        try:
            return Finished(task=task, result=self._worker.process(task))
        except RuntimeError as error:
            return Died(task=task, reason=str(error))

    def close(self) -> None:
        self.is_closed = True
