"""Cache of computed values that the sessions of a process share."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import streamlit as st

Value = TypeVar("Value")


class LruCache(Generic[Value]):
    """Keeps the values that were used last; safe for threads.

    Streamlit's caches do not fit where a computation shows its progress: they would show it again with each hit.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()
        self._computing = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the value of a key, None if it is not in the cache."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        """Set the value of a key, and drop the value that was not used for longest if there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def get_or_compute(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of a key, computed if it is missing; one computation runs at a time."""
        with self._computing:
            value = self.get(key)
            if value is None:
                value = compute()
                self.put(key, value)
            return value


@st.cache_resource(show_spinner=False)
def shared_cache(name: str, size: int) -> LruCache[Any]:
    """Return the cache with a name that the sessions of this process share."""
    return LruCache(size)
