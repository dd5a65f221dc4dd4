"""Guessing passwords slows down: after some failures each further attempt waits, longer every time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FREE = {"both": 5, "address": 20, "name": 50}
"""Failures before the first wait: of a name from one address, of all names from it, of a name from anywhere."""
LONGEST_S = 60.0
FORGOTTEN_S = 900.0
MAX_ENTRIES = 10_000


@dataclass
class _Failures:
    count: int = 0
    until: float = 0.0
    last: float = 0.0


class Throttle:
    """Counts failures in bounded memory; what was touched least recently is forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str, str], _Failures] = OrderedDict()

    def attempt(self, name: str, address: str) -> float:
        """Return the seconds to wait, or count an attempt as failed in advance and return 0.

        Counting in advance leaves nothing to be won by many attempts at once; `succeeded` takes it back.
        """
        now = self._clock()
        entries = [(kind, self._entry(key, now)) for kind, key in _keys(name, address)]
        wait = max(entry.until - now for _, entry in entries)
        if wait > 0:
            return wait
        for kind, entry in entries:
            entry.count += 1
            entry.last = now
            if (over := entry.count - FREE[kind]) > 0:
                entry.until = now + min(LONGEST_S, 2.0 ** min(over, 10))
        return 0.0

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address, and this one attempt of all others."""
        for kind, key in _keys(name, address):
            if kind == "both":
                self._entries.pop(key, None)
            elif key in self._entries:
                entry = self._entries[key]
                entry.count, entry.until = max(0, entry.count - 1), 0.0

    def _entry(self, key: tuple[str, str, str], now: float) -> _Failures:
        entry = self._entries.get(key)
        if entry is None or now - entry.last > FORGOTTEN_S:
            entry = self._entries[key] = _Failures(last=now)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        return entry


def _keys(name: str, address: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
    short = name[:64]
    yield "both", ("both", short, address)
    yield "address", ("address", "", address)
    yield "name", ("name", short, "")
