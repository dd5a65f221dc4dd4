from __future__ import annotations

import json
from datetime import UTC, datetime

from vestigo.retrieval.search import Hit, SearchResult
from vestigo_models.attribute_filter.choice import FilterChoice, FilterEstimate
from vestigo_ui.search.transfer import result_from_json, result_to_json

HIT = Hit(
    rank=1,
    crop="0" * 20,
    distance=0.1 + 0.2,
    camera="gate",
    time=datetime(2026, 5, 1, 8, 0, 0, 123456, tzinfo=UTC),
    offset_s=None,
    track="",
    source="s",
    input="i",
    frame=-1,
    attributes={"hat": "yes"},
    confidences={"hat": 1 / 3},
)


def test_result_survives_transfer() -> None:
    expected = FilterEstimate(kept_fraction=0.5, miss_rate=0.01, identities=7)
    choice = FilterChoice(mode="auto", threshold=float("inf"), names=("hat",), expected=expected)
    result = SearchResult(hits=(HIT,), compared=3, model="m", filter=choice, confidences={"hat": 0.1})
    assert result_from_json(json.loads(json.dumps(result_to_json(result)))) == result
    empty = SearchResult(hits=(), compared=0, model="m")
    assert result_from_json(json.loads(json.dumps(result_to_json(empty)))) == empty
