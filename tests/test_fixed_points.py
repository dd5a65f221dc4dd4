"""The fixed points hold: numbers, options, JSON keys, exit statuses, the SQL schema, and stores that exist."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools.fixed_points import RECORDED, collect, compare

pytestmark = pytest.mark.slow

PARTS: dict[str, Any] = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {}


@pytest.fixture(scope="module")
def current() -> dict[str, Any]:
    return collect()


def test_every_part_is_recorded(current: dict[str, Any]) -> None:
    assert current.keys() - PARTS.keys() == {"digests"}


@pytest.mark.parametrize("part", PARTS)
def test_recorded_values_are_unchanged(part: str, current: dict[str, Any]) -> None:
    differences = compare({part: PARTS[part]}, current)
    assert differences == [], "if this change is intended: python -m tools.fixed_points --write"


def test_comparison_allows_additions_and_rounding_only() -> None:
    recorded = {
        "numbers": {"mAP (percent)": 80.0, "crops": ["a"]},
        "options": {"vestigo search": {"--top": {"default": 20}}},
        "json": {"search": {"results": "array", "results[].time": "null|string"}},
        "schema": {"tables": {"run": {}}},
    }
    more = {
        "numbers": {"mAP (percent)": 80.01, "crops": ["a"]},
        "options": {"vestigo search": {"--top": {"default": 20}, "--new": {}}, "vestigo new": {}},
        "json": {"search": {"results": "array", "results[].time": "string", "new": "string"}, "new": {}},
        "schema": {"tables": {"run": {}}},
    }
    assert compare(recorded, more) == []
    less = {
        "numbers": {"mAP (percent)": 80.2, "crops": ["b"]},
        "options": {"vestigo search": {"--top": {"default": 10}}},
        "json": {"search": {"results": "object"}},
        "schema": {"tables": {"run": {}, "new": {}}},
    }
    assert compare(recorded, less) == [
        "numbers: mAP (percent): 80.2, was 80.0",
        "numbers: crops[0]: 'b', was 'a'",
        "options: vestigo search: --top: default: 10, was 20",
        "json: search: results: object, was array",
        "json: search: results[].time: missing, was null|string",
        "schema: tables: new: added",
    ]
