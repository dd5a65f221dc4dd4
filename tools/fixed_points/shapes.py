"""The keys of a JSON object with their types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_DIGEST = re.compile(r"\b[0-9a-f]{12,64}\b")
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}


def key_types(result: dict[str, Any]) -> dict[str, str]:
    """Return the type of every key, at every depth.

    Args:
        result: A JSON object.

    Returns:
        Types by key, as in `{"results": "array", "results[].rank": "integer"}`; several types have `|` between them.
    """
    types: dict[str, set[str]] = {}
    for key, name in _walk(result, ""):
        types.setdefault(key, set()).add(name)
    return {key: "|".join(sorted(names)) for key, names in types.items()}


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if path:
        yield path, "null" if value is None else _NAMES[type(value)]
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{path}.{_DIGEST.sub('DIGEST', key)}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, f"{path}[]")
