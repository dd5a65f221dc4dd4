"""The cache that sessions share."""

from __future__ import annotations

from vestigo_ui.app.cache import LruCache


def test_cache_drops_least_recently_used() -> None:
    cache: LruCache[int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("b") is None
    assert cache.get("a") == 1
    assert cache.get_or_compute("c", lambda: 4) == 3
    assert cache.get_or_compute("d", lambda: 5) == 5
    assert cache.get("a") is None


def test_missing_values_are_computed_once() -> None:
    cache: LruCache[str] = LruCache(2)
    computed = []
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get_or_compute(key, lambda key=key: computed.append(key) or key)  # type: ignore[misc]
    assert computed == ["a", "b", "c", "b"]
