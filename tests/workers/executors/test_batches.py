"""Batches on executors: each input has one result, whatever the order in which batches end and workers die."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support import image_workers
from tests.support.image_workers import ShuffledExecutor, SquareFactory
from vestigo_models.errors import BadInput, DatasetError, WorkError
from vestigo_models.progress import ignore_progress
from vestigo_workers.executors import batches as batches_module
from vestigo_workers.executors.base import ExecutorSettings, InlineExecutor
from vestigo_workers.executors.batches import DIED, FAILURES_OF_ALL, Batch, BatchPool, cut_batches

INLINE = ExecutorSettings(executor="inline")
RAY = ExecutorSettings(executor="ray", actors=2, device="cpu")


@pytest.fixture(params=["inline", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])])
def settings(request: pytest.FixtureRequest) -> Iterator[ExecutorSettings]:
    if request.param == "inline":
        yield INLINE
        return
    request.getfixturevalue("ray_cluster")
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(image_workers)
    yield RAY
    cloudpickle.unregister_pickle_by_value(image_workers)


def squares(pool: Any, numbers: list[int], size: int, progress: Any = ignore_progress) -> list[Any]:
    """Return the square of each number, or the reason why there is none, in the order of the numbers."""
    merged: dict[int, Any] = {}
    for batch, result in pool.process(cut_batches(numbers, size), progress):
        values = [result.reason] if isinstance(result, BadInput) else result
        assert len(values) == len(batch.inputs)
        for position, value in enumerate(values, batch.first):
            assert merged.setdefault(position, value) is value, "an input has two results"
    return [merged[position] for position in range(len(numbers))]


@given(
    numbers=st.lists(st.integers(0, 9), max_size=30),
    size=st.integers(1, 12),
    deadly=st.sets(st.integers(0, 2)),
    slots=st.integers(1, 5),
    seed=st.integers(),
)
def test_results_do_not_depend_on_order_and_batches(
    numbers: list[int], size: int, deadly: set[int], slots: int, seed: int
) -> None:
    pool: BatchPool[int, list[int]] = BatchPool(SquareFactory(), INLINE)
    rng = random.Random(seed)
    factory = SquareFactory(deadly=tuple(deadly))
    pool._executor = ShuffledExecutor(factory, rng.randrange, slots)
    reports: list[tuple[int, int | None]] = []
    batches_failed = sum(number in deadly for number in numbers) >= FAILURES_OF_ALL
    try:
        result = squares(pool, numbers, size, lambda done, total: reports.append((done, total)))
    except WorkError:
        assume(not batches_failed)
        raise
    assert result == [DIED if number in deadly else number**2 for number in numbers]
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert reports[-1] == (len(numbers), len(numbers))


def test_deadly_input_costs_itself_alone(settings: ExecutorSettings) -> None:
    factory = SquareFactory(deadly=(5,), kill=settings is RAY)
    with BatchPool(factory, settings) as pool:
        assert squares(pool, list(range(16)), 4) == [DIED if n == 5 else n * n for n in range(16)]


def test_worker_that_dies_once_loses_no_input(settings: ExecutorSettings, tmp_path: Path) -> None:
    factory = SquareFactory(deadly=(5,), kill=settings is RAY, once=str(tmp_path / "died"))
    with BatchPool(factory, settings) as pool:
        assert squares(pool, list(range(16)), 4) == [n * n for n in range(16)]
    assert (tmp_path / "died").exists()


def test_workers_stay_for_several_calls(settings: ExecutorSettings) -> None:
    with BatchPool(SquareFactory(), settings) as pool:
        assert squares(pool, list(range(9)), 2) == [n * n for n in range(9)]
        executor = pool._executor
        assert squares(pool, list(range(5)), 2) == [n * n for n in range(5)]
        assert pool._executor is executor
    assert pool._executor is None


def test_failure_of_all_inputs_is_an_error() -> None:
    pool: BatchPool[int, list[int]] = BatchPool(SquareFactory(deadly=tuple(range(9))), INLINE)
    with pytest.raises(WorkError, match="workers fail on every input: RuntimeError: a deadly number"):
        squares(pool, list(range(9)), 4)


def test_no_input_gives_one_empty_batch() -> None:
    pool: BatchPool[int, list[int]] = BatchPool(SquareFactory(), INLINE)
    assert list(pool.process(cut_batches([], 4), ignore_progress)) == [(Batch(first=0, inputs=()), [])]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DatasetError("a label map")])
def test_interruption_releases_workers(error: Any) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise error

    pool: BatchPool[int, list[int]] = BatchPool(SquareFactory(), INLINE)
    executor = ShuffledExecutor(SquareFactory(), lambda tasks: 0, 3)
    pool._executor = executor
    with pytest.raises(error if isinstance(error, type) else type(error)):
        squares(pool, list(range(9)), 1, interrupt)
    assert executor.is_closed
    # Results of the interrupted call are not those of the next one.
    assert squares(pool, [4, 5], 1) == [16, 25]


def test_several_batches_replace_inline_by_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def start(factory: Callable[[], Any], settings: ExecutorSettings, *, shards: int) -> Any:
        opened.append(shards)
        return InlineExecutor(factory) if shards == 1 else ShuffledExecutor(factory, lambda tasks: 0, 2)

    monkeypatch.setattr(batches_module, "start_executor", start)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    pool: BatchPool[int, list[int]] = BatchPool(SquareFactory(), ExecutorSettings())
    for numbers in ([1], [1, 2, 3], [2]):
        assert squares(pool, numbers, 2) == [number**2 for number in numbers]
    assert opened == [1, 2]


def test_inline_executor_computes_on_one_thread() -> None:
    threads: list[int] = []

    class Recorder:
        def process(self, batch: Batch[int]) -> list[int]:
            threads.append(torch.get_num_threads())
            return list(batch.inputs)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        pool: BatchPool[int, list[int]] = BatchPool(Recorder, INLINE)
        assert len(list(pool.process(cut_batches([1, 2, 3], 2), ignore_progress))) == 2
        assert (threads, torch.get_num_threads()) == ([1, 1], 3)
    finally:
        torch.set_num_threads(before)
