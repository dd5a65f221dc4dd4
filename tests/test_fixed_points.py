"""The fixed points hold: numbers, options, JSON keys, exit statuses, the SQL schema, and stores that exist."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools.fixed_points import RECORDED, collect, compare

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
