"""Search results as JSON between processes."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from vestigo.retrieval.search import SearchResult


@cache
def _adapter() -> TypeAdapter[SearchResult]:
    return TypeAdapter(SearchResult)


def result_to_json(result: SearchResult) -> dict[str, Any]:
    """Return a result as JSON types."""
    values: dict[str, Any] = _adapter().dump_python(result, mode="json")
    return values


def result_from_json(values: dict[str, Any]) -> SearchResult:
    """Return the result that `result_to_json` describes."""
    return _adapter().validate_python(values)
