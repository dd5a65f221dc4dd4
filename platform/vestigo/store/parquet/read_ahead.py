"""Reading ahead: threads read what comes next while whoever asked works on what came before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from queue import SimpleQueue
from threading import Event, Semaphore
from typing import Generic, TypeVar

T = TypeVar("T")
Source = Callable[[], Generator[T, None, None]]


def read_ahead(sources: Iterable[Source[T]], *, readers: int, held: int) -> Generator[T, None, None]:
    """Yield what sources yield, one source after the other, each in its order, as if they were read in turn.

    `readers` sources are read at a time, and at most `held` items of each wait to be asked for. What a source raises is
    raised where its item was due; whoever stops asking stops the readers.
    """
    left = Event()
    begun: deque[_Reader[T]] = deque()
    pending = iter(sources)
    with ThreadPoolExecutor(readers) as pool:
        try:
            while True:
                for source in islice(pending, readers - len(begun)):
                    begun.append(_Reader(held))
                    pool.submit(begun[-1].read, source, left)
                if not begun:
                    return
                yield from begun[0].items()
                begun.popleft()
        finally:
            left.set()
            for reader in begun:
                reader.wake()


class _Reader(Generic[T]):
    """One source on its way: its items so far, their end, or what it raised."""

    def __init__(self, held: int) -> None:
        self._room = Semaphore(held)
        self._come: SimpleQueue[list[T] | BaseException] = SimpleQueue()

    def read(self, source: Source[T], left: Event) -> None:
        """Read until the end, or until `left` is set."""
        try:
            with closing(source()) as items:
                while True:
                    self._room.acquire()
                    if left.is_set():
                        return
                    one = list(islice(items, 1))
                    self._come.put(one)
                    if not one:
                        return
        except BaseException as error:  # noqa: BLE001  (raised where its item was due)
            self._come.put(error)

    def items(self) -> Iterator[T]:
        """Yield what was read."""
        while one := self._come.get():
            if isinstance(one, BaseException):
                raise one
            self._room.release()
            yield one[0]

    def wake(self) -> None:
        """Let a reader that waits for room see that nobody asks any more."""
        self._room.release()
