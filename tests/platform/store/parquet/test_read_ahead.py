"""Reading ahead gives what reading in turn gives, holds little, and leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Generator
from functools import partial
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestigo.store.parquet.read_ahead import read_ahead


def source(items: list[int]) -> Generator[int, None, None]:
    yield from items


@given(
    contents=st.lists(st.lists(st.integers(), max_size=6), max_size=6),
    readers=st.integers(1, 4),
    held=st.integers(1, 3),
)
def test_items_equal_sequential_reading(contents: list[list[int]], readers: int, held: int) -> None:
    items = read_ahead((partial(source, part) for part in contents), readers=readers, buffered=held)
    assert list(items) == list(chain.from_iterable(contents))


def test_read_ahead_is_bounded() -> None:
    readers, held = 3, 2
    read: list[int] = []
    lock = threading.Lock()

    def counted(first: int) -> Generator[int, None, None]:
        for item in range(first, first + 50):
            with lock:
                read.append(item)
            yield item

    requests = 0
    for item in read_ahead((partial(counted, 50 * k) for k in range(20)), readers=readers, buffered=held):
        assert item == requests
        requests += 1
        with lock:
            assert len(read) <= requests + readers * held + 1
    assert requests == 1000


def test_error_of_source_is_raised_in_order() -> None:
    def broken() -> Generator[int, None, None]:
        yield 3
        raise ValueError("broken")

    items = read_ahead([partial(source, [1, 2]), broken, partial(source, [4])], readers=3, buffered=1)
    assert [next(items), next(items), next(items)] == [1, 2, 3]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_closing_iterator_stops_readers() -> None:
    closed = threading.Event()

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    items = read_ahead([endless, endless], readers=2, buffered=1)
    assert next(items) == 0
    items.close()
    assert closed.is_set()
    assert threading.active_count() == before
