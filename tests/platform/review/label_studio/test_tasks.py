from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.label_studio import annotation_result
from vestigo.review.label_studio.tasks import KEY_FIELD, TaskListing
from vestigo_models.schemas.builtin import MARKET_1501


def annotation(number: int, result: Any, updated: Any = "2026-05-01T08:00:00Z") -> dict[str, Any]:
    return {
        "id": number,
        "result": result,
        "was_cancelled": False,
        "updated_at": updated,
        "completed_by": 1,
        "created_username": "ana, 1",
    }


def listing_of(*annotations: dict[str, Any]) -> TaskListing:
    """List a server with one task that has these annotations."""
    task = SimpleNamespace(
        id=7,
        meta={KEY_FIELD: "key"},
        total_annotations=len(annotations),
        cancelled_annotations=0,
        annotations=annotations,
    )
    page = SimpleNamespace(items=[task], response=SimpleNamespace(total=1))
    client: Any = SimpleNamespace(
        url="http://server",
        call=lambda request: request(),
        sdk=SimpleNamespace(tasks=SimpleNamespace(list=lambda **_: page)),
    )
    listing = TaskListing()
    listing.read(client, 1, MARKET_1501)
    return listing


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        (annotation(2, annotation_result({"hat": "maybe"})), "hat=maybe: not one of no, yes"),
        (annotation(2, annotation_result({"shoes": "black"})), "shoes: schema market-1501 has no such attribute"),
        (annotation(2, [{"type": "relation", "from_id": "a"}]), "no such attribute"),
        (annotation(2, [{"from_name": "hat", "value": "yes"}]), "it was not made with the form of this project"),
        (annotation(2, [{"from_name": "hat", "value": None}]), "it was not made with the form of this project"),
        (annotation(2, [{"from_name": "hat", "value": {"choices": [["yes"]]}}]), "not one of no, yes"),
        (annotation(2, ["text"]), "it was not made with the form of this project"),
        (annotation(2, 5), "it was not made with the form of this project"),
        (annotation(2, annotation_result({"hat": "no"}), None), "it was not made with the form of this project"),
    ],
)
def test_annotation_of_another_form_is_skipped_and_the_others_are_read(foreign: dict[str, Any], reason: str) -> None:
    ours = [annotation(number, annotation_result({"hat": "yes"})) for number in (1, 3)]
    with listing_of(ours[0], foreign, ours[1]) as listing:
        assert [read.remote_id for read in listing.annotations(["key"])["key"]] == [1, 3]
        (line,) = listing.invalid
    assert line.startswith("annotation 2 of task 7, ")
    assert reason in line
