"""Compare recorded values with current ones, each part by its own rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

TOLERANCES = {"percent": 0.05, "pixels": 1.5, "grey levels": 0.5}
"""Largest difference of floats by the unit that ends a key, as in `mAP (percent)`; 0.002 without a unit."""


def compare(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Compare two records.

    Options, JSON keys and everything else may be added; nothing recorded may vanish or change. The SQL schema may not
    grow either. Floats may differ as processors do.

    Args:
        recorded: What `tests/fixed_points.json` holds.
        current: What `collect` returns.

    Returns:
        One line for each difference.
    """
    differences: list[str] = []
    for part, values in recorded.items():
        if part not in current:
            differences.append(f"{part}: missing")
        elif part == "json":
            differences += _compare_shapes(values, current[part])
        else:
            differences += _compare(values, current[part], part, strict=part == "schema")
    return differences


def _compare_shapes(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[str]:
    for command, keys in recorded.items():
        if command not in current:
            yield f"json: {command}: missing"
            continue
        for key, types in keys.items():
            if key not in current[command]:
                yield f"json: {command}: {key}: missing, was {types}"
                continue
            before, now = (set(found.split("|")) - {"null"} for found in (types, current[command][key]))
            # What a machine lacks is null there.
            if before and now and before != now:
                yield f"json: {command}: {key}: {current[command][key]}, was {types}"


def _compare(recorded: Any, current: Any, path: str, *, strict: bool) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(current, dict):
        for key in recorded:
            place = f"{path}: {key}"
            if key not in current:
                yield f"{place}: missing"
            else:
                yield from _compare(recorded[key], current[key], place, strict=strict)
        if strict:
            yield from (f"{path}: {key}: added" for key in current if key not in recorded)
    elif isinstance(recorded, list) and isinstance(current, list):
        if len(recorded) != len(current):
            yield f"{path}: {len(current)} values, were {len(recorded)}"
        else:
            for position, pair in enumerate(zip(recorded, current, strict=True)):
                yield from _compare(*pair, f"{path}[{position}]", strict=strict)
    elif not _equal(recorded, current, path):
        yield f"{path}: {current!r}, was {recorded!r}"


def _equal(recorded: Any, current: Any, path: str) -> bool:
    if isinstance(recorded, float) and isinstance(current, float):
        tolerance = next((found for unit, found in TOLERANCES.items() if f"({unit})" in path), 0.002)
        return math.isclose(recorded, current, rel_tol=1e-3, abs_tol=tolerance)
    return type(recorded) is type(current) and bool(recorded == current)
