"""Which executor a run gets: this process, or a pool of Ray actors."""

from __future__ import annotations

import os
from typing import Literal, Protocol

from vestigo.store.open import Store
from vestigo_workers.executors.base import Executor, InlineExecutor, WorkerFactory

ExecutorName = Literal["inline", "ray", "auto"]


class PoolRequest(Protocol):
    """What a request says of its executor; see `IndexRequest`."""

    @property
    def executor(self) -> ExecutorName:
        """`inline`, `ray`, or `auto`."""
        ...

    @property
    def actors(self) -> int | None:
        """Ray actors."""
        ...

    @property
    def gpus_per_actor(self) -> float | None:
        """Share of a GPU an actor is pinned to."""
        ...


def open_executor(store: Store, run_id: str, factory: WorkerFactory, request: PoolRequest) -> Executor:
    """Start the executor that the request asks for; `auto` takes Ray where shards can run side by side."""
    if request.executor == "inline" or (request.executor == "auto" and not worth_ray(store, request, run_id)):
        return InlineExecutor(factory)
    from vestigo_workers.executors.ray import RayExecutor

    return RayExecutor(factory, actors=request.actors, gpus_per_actor=request.gpus_per_actor)


def worth_ray(store: Store, request: PoolRequest, run_id: str) -> bool:
    """Whether a pool of actors pays: a cluster was named, actors were asked for, or there are shards for two."""
    if os.environ.get("RAY_ADDRESS") or (request.actors or 0) > 1:
        return True
    shards = [task for task in store.pending(run_id, limit=4) if task.kind != "assembly"]
    return len(shards) > 1 and (os.cpu_count() or 1) > 1
