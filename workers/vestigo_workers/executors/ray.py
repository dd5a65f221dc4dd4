"""The executor that runs tasks on Ray actors.

Each actor loads the model once, is pinned to a GPU (or a CPU) and takes whole tasks: paths and ranges, never pixels.
Ray restarts a dead actor (`max_restarts=-1`) but does not repeat its task (`max_task_retries=0`), because the driver
must count a death against the task that caused it.
"""

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic

import cv2
import ray
import torch
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayTaskError

from vestigo_models.devices import pin_device
from vestigo_models.errors import VestigoError, WorkError
from vestigo_workers.executors.base import Died, Finished, Result, Task, Worker, WorkerFactory, death_reason
from vestigo_workers.executors.cluster import connect

WINDOW = 2
"""Tasks in flight per actor: one runs and one waits, so that an actor never waits for the driver."""
START_TIMEOUT_S = 300.0
"""Seconds within which the first actor must be placed and have loaded its model, also on a busy machine."""


class _Actor:
    """The body of an actor: a worker that is built there and computes on one thread.

    Methods receive the factory as a list with its reference, because an actor that Ray has restarted builds its worker
    again, and Ray keeps no large arguments of constructors for restarts.
    """

    def __init__(self) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        if ray.get_gpu_ids():
            pin_device()
        self._built: Worker[Any, Any] | None = None

    def ready(self, factory: Sequence[Any]) -> int:
        self._worker(factory)
        return os.getpid()

    def process(self, factory: Sequence[Any], task: Any) -> Any:
        return self._worker(factory).process(task)

    def _worker(self, factory: Sequence[Any]) -> Worker[Any, Any]:
        if self._built is None:
            self._built = ray.get(factory[0])()
        return self._built


class RayExecutor(Generic[Task, Result]):
    """Runs tasks on Ray actors.

    Args:
        factory: Picklable builder of the worker.
        actors: Number of actors; by default one per GPU share, or one per CPU without a GPU.
        gpus_per_actor: Share of a GPU that each actor is pinned to; by default 1 if the cluster has GPUs, else 0.
    """

    def __init__(
        self, factory: WorkerFactory[Task, Result], *, actors: int | None = None, gpus_per_actor: float | None = None
    ) -> None:
        self._disconnect = connect()
        total = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus, cpus = total.get("GPU", 0.0), max(1.0, total.get("CPU", 1.0))
        share = gpus_per_actor if gpus_per_actor is not None else (1.0 if gpus else 0.0)
        count = actors or max(1, int(gpus / share) if share else int(cpus))
        # Fractions leave headroom: actors never take every logical CPU of a node.
        remote: Any = ray.remote(_Actor).options(
            num_cpus=min(1.0, 0.75 * cpus / count), num_gpus=share, max_restarts=-1, max_task_retries=0
        )
        self.slots = WINDOW * count
        # A factory may hold the weights of a model: they are sent to each node once.
        self._factory = [ray.put(factory)]
        self._actors: list[Any] = [remote.remote() for _ in range(count)]
        self._queues: list[deque[tuple[Any, Task]]] = [deque() for _ in range(count)]
        self._await_start(share)

    def _await_start(self, share: float) -> None:
        starting = [actor.ready.remote(self._factory) for actor in self._actors]
        started, waiting = ray.wait(starting, num_returns=len(starting), timeout=START_TIMEOUT_S)
        if waiting and not started:
            available = ray.available_resources()  # type: ignore[no-untyped-call]
            free = {name: round(amount, 2) for name, amount in available.items() if name in "CPU GPU"}
            raise WorkError(
                f"no Ray actor started within {START_TIMEOUT_S:.0f} s: {len(self._actors)} actors need {share:g} GPU "
                f"each, the cluster has {free} free; request less with --actors or --gpus-per-actor"
            )
        try:
            self.pids: list[int] = ray.get(started)
        except RayTaskError as error:
            self.close()
            raise _cause(error) from None
        except RayActorError as error:
            self.close()
            raise WorkError(f"a Ray actor died while it loaded the model: {death_reason(error)}") from None

    def submit(self, task: Task) -> None:
        """Submit one task to the actor with the shortest queue."""
        index = min(range(len(self._queues)), key=lambda i: len(self._queues[i]))
        self._queues[index].append((self._actors[index].process.remote(self._factory, task), task))

    def next(self) -> Finished[Task, Result] | Died[Task]:
        """Wait for the next task that ends on any actor."""
        heads = {queue[0][0]: index for index, queue in enumerate(self._queues) if queue}
        [ref], _ = ray.wait(list(heads), num_returns=1)
        index = heads[ref]
        _, task = self._queues[index].popleft()
        try:
            return Finished(task=task, result=ray.get(ref))
        except RayTaskError as error:
            cause = _cause(error)
            if isinstance(cause, VestigoError):
                raise cause from None
            return Died(task=task, reason=death_reason(cause))
        except RayActorError as error:
            self._revive(index)
            return Died(task=task, reason=death_reason(error))

    def _revive(self, index: int) -> None:
        """Wait for Ray to restart a dead actor, then submit again the tasks that waited in its queue.

        An actor that does not restart (its node is lost) is dropped, and the other actors take its tasks.
        """
        waiting = [task for _, task in self._queues[index]]
        self._queues[index].clear()
        if not self._restarted(self._actors[index]):
            del self._actors[index], self._queues[index]
            if not self._actors:
                raise WorkError("every Ray actor is lost: give the command again, or vestigo runs resume RUN for a run")
        for task in waiting:
            self.submit(task)

    def _restarted(self, actor: Any) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                ray.get(actor.ready.remote(self._factory), timeout=START_TIMEOUT_S)
                return True
            except ActorUnavailableError:
                time.sleep(0.2)
            except (RayActorError, RayTaskError, GetTimeoutError):
                return False
        return False

    def close(self) -> None:
        """Stop the actors, and the cluster if this executor started it."""
        for actor in self._actors:
            ray.kill(actor)
        if self._disconnect:
            ray.shutdown()


def _cause(error: RayTaskError) -> BaseException:
    cause: BaseException = error.cause if isinstance(error.cause, BaseException) else error
    return cause
