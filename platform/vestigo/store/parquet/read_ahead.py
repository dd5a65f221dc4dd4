"""Read-ahead: threads read the next items while the caller processes the current ones."""

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


def read_ahead(sources: Iterable[Source[T]], *, readers: int, buffered: int) -> Generator[T, None, None]:
    """Yield the items of sources, one source after the other, each in its order.

    An error of a source is raised at the position of the failed item. Closing the generator stops the readers.

    Args:
        sources: Sources to read.
        readers: Number of sources that are read at a time.
        buffered: Largest number of items of a source that wait for the caller.
    """
    stopped = Event()
    active: deque[_Reader[T]] = deque()
    pending = iter(sources)
    with ThreadPoolExecutor(readers) as pool:
        try:
            while True:
                for source in islice(pending, readers - len(active)):
                    active.append(_Reader(buffered))
                    pool.submit(active[-1].read, source, stopped)
                if not active:
                    return
                yield from active[0].items()
                active.popleft()
        finally:
            stopped.set()
            for reader in active:
                reader.wake()


class _Reader(Generic[T]):
    """Queue of the items of one source, or of its error."""

    def __init__(self, buffered: int) -> None:
        self._room = Semaphore(buffered)
        self._queue: SimpleQueue[list[T] | BaseException] = SimpleQueue()

    def read(self, source: Source[T], stopped: Event) -> None:
        """Read until the end, or until `stopped` is set."""
        try:
            with closing(source()) as items:
                while True:
                    self._room.acquire()
                    if stopped.is_set():
                        return
                    item = list(islice(items, 1))
                    self._queue.put(item)
                    if not item:
                        return
        except BaseException as error:  # noqa: BLE001  (raised by items)
            self._queue.put(error)

    def items(self) -> Iterator[T]:
        """Yield the items in order; raise the error of the source."""
        while item := self._queue.get():
            if isinstance(item, BaseException):
                raise item
            self._room.release()
            yield item[0]

    def wake(self) -> None:
        """Let a reader that waits for room check whether it is stopped."""
        self._room.release()
