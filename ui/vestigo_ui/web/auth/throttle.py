"""Limit of password attempts: after some failures, each further attempt must wait longer."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_ATTEMPTS = {"both": 5, "address": 20, "name": 50}
"""Failures before the first wait: of one name from one address, of all names from an address, of a name."""
MAX_WAIT_S = 60.0
FORGET_AFTER_S = 900.0
MAX_ENTRIES = 10_000


@dataclass
class _Failures:
    count: int = 0
    until: float = 0.0
    last: float = 0.0


class Throttle:
    """Counts failures in bounded memory; the least recently used entry is dropped first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str, str], _Failures] = OrderedDict()

    def attempt(self, name: str, address: str) -> float:
        """Return the seconds to wait, or count the attempt as a failure and return 0.

        Counting before the password is checked also limits simultaneous attempts; `record_success` undoes it.
        """
        now = self._clock()
        entries = [(key[0], self._entry(key, now)) for key in _keys(name, address)]
        wait = max(entry.until - now for _, entry in entries)
        if wait > 0:
            return wait
        for kind, entry in entries:
            entry.count += 1
            entry.last = now
            if (over := entry.count - FREE_ATTEMPTS[kind]) > 0:
                entry.until = now + min(MAX_WAIT_S, 2.0 ** min(over, 10))
        return 0.0

    def record_success(self, name: str, address: str) -> None:
        """Drop the failures of a name from an address, and this attempt from the other counts."""
        for key in _keys(name, address):
            if key[0] == "both":
                self._entries.pop(key, None)
            elif key in self._entries:
                entry = self._entries[key]
                entry.count, entry.until = max(0, entry.count - 1), 0.0

    def _entry(self, key: tuple[str, str, str], now: float) -> _Failures:
        entry = self._entries.get(key)
        if entry is None or now - entry.last > FORGET_AFTER_S:
            entry = self._entries[key] = _Failures(last=now)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        return entry


def _keys(name: str, address: str) -> list[tuple[str, str, str]]:
    """Return the keys of an attempt: the kind of its limit, name and address."""
    return [("both", name[:64], address), ("address", "", address), ("name", name[:64], "")]
