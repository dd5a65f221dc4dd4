"""Start the executor that settings name."""

import os

from vestigo_workers.executors.base import Executor, ExecutorSettings, InlineExecutor, Result, Task, WorkerFactory


def start_executor(
    factory: WorkerFactory[Task, Result], settings: ExecutorSettings, *, shards: int
) -> Executor[Task, Result]:
    """Start the executor that the settings name; `auto` is Ray if the `shards` can run in parallel.

    Raises:
        WorkError: No Ray cluster answers, or no actor starts.
    """
    if not uses_ray(settings, shards=shards):
        return InlineExecutor(factory)
    from vestigo_workers.executors.ray import RayExecutor

    on_cpu = settings.device == "cpu" and settings.gpus_per_actor is None
    return RayExecutor(factory, actors=settings.actors, gpus_per_actor=0.0 if on_cpu else settings.gpus_per_actor)


def uses_ray(settings: ExecutorSettings, *, shards: int) -> bool:
    """Return whether an executor for a number of shards is Ray."""
    if settings.executor != "auto":
        return settings.executor == "ray"
    is_requested = bool(os.environ.get("RAY_ADDRESS")) or (settings.actors or 0) > 1
    return is_requested or (shards > 1 and (os.cpu_count() or 1) > 1)
