"""What people decide about results: the newest decision counts, all of them stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vestigo.store.audit.records import query_key
from vestigo.store.open import Store
from vestigo_models.errors import StoreError

QUERY, OTHER = query_key(crops=["a"]), query_key(crops=["b"])


@pytest.fixture
def store(store_ref: Path) -> Iterator[Store]:
    with Store.open(store_ref) as opened:
        yield opened


def counted(store: Store, query: str = QUERY, case: str | None = None) -> dict[str, str | None]:
    return {crop: verdict.verdict for crop, verdict in store.verdicts.current(query, case).items()}


def test_the_newest_verdict_counts_and_none_is_lost(store: Store) -> None:
    made = [
        store.verdicts.record(QUERY, "one", "confirmed", user="ana", note=" by the bag\nand the hat "),
        store.verdicts.record(QUERY, "two", "rejected", user="ana"),
        store.verdicts.record(QUERY, "one", "not sure", user="ben"),
        store.verdicts.record(QUERY, "two", None, user="ben"),
        store.verdicts.record(QUERY, "three", "confirmed", user="ben"),
    ]
    assert counted(store) == {"one": "not sure", "three": "confirmed"}
    assert store.verdicts.current(QUERY)["one"] == made[2]
    assert store.verdicts.history(QUERY) == made
    assert made[0].note == "by the bag\nand the hat"
    assert counted(store, OTHER) == {}
    assert store.verdicts.history(OTHER) == []


def test_cases_are_kept_apart(store: Store) -> None:
    store.verdicts.record(QUERY, "one", "confirmed", user="ana", case="12/26")
    store.verdicts.record(QUERY, "one", "rejected", user="ana", case=" 13/26 ")
    store.verdicts.record(OTHER, "one", "not sure", user="ana")
    assert counted(store) == {}
    assert counted(store, case="12/26") == {"one": "confirmed"}
    assert counted(store, case="13/26") == {"one": "rejected"}
    assert counted(store, OTHER) == {"one": "not sure"}
    assert [verdict.case for verdict in store.verdicts.history(QUERY)] == ["12/26", "13/26"]


def test_a_verdict_and_its_entry_in_the_audit_log_are_one(store: Store) -> None:
    made = store.verdicts.record(
        QUERY, "one", "confirmed", user="a\0", case="12/26", authority="order 7", note="a note"
    )
    [entry] = store.audit.entries()
    assert (entry.user, entry.action, entry.case, entry.authority) == (made.user, "verdict", "12/26", "order 7")
    assert entry.details == {"query": QUERY, "crop": "one", "verdict": "confirmed"}
    assert entry.snapshot == store.crops.snapshot()
    with pytest.raises(StoreError, match="authorisation reference"):
        store.verdicts.record(QUERY, "one", None, user="ana", authority="x" * 201)
    assert counted(store, case="12/26") == {"one": "confirmed"}
    assert store.audit.verify().entries == 1


def test_a_repeated_verdict_is_recorded_once(store: Store) -> None:
    first = store.verdicts.record(QUERY, "one", "confirmed", user="a\0", note="the bag")
    assert store.verdicts.record(QUERY, "one", "confirmed", user="a\0", note=" the bag") == first
    changes = {"user": "ben"}, {"case": "12/26"}, {"note": "the hat"}, {"query": OTHER}, {"crop": "two"}
    for change in changes:
        given = {"query": QUERY, "crop": "one", "user": "a\0", "note": "the bag"} | change
        assert store.verdicts.record(verdict="confirmed", **given) != first
    store.verdicts.record(QUERY, "one", None, user="a\0", note="the bag")
    assert store.verdicts.record(QUERY, "one", "confirmed", user="a\0", note="the bag") != first
    assert [len(store.verdicts.history(query)) for query in (QUERY, OTHER)] == [7, 1]
    assert len(store.audit.entries()) == 8


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"verdict": "maybe"}, "'maybe' is not a verdict: confirmed, rejected, not sure, or none to withdraw it"),
        ({"query": "hat=yes"}, r"query 'hat=yes' is not a SHA-256 \(see `query_key`\)"),
        ({"note": "x" * 2001}, "a note is text of at most 2000 characters, this one has 2001"),
        ({"case": "x\ty"}, "case number"),
    ],
)
def test_unknown_verdicts_are_refused(tmp_path: Path, more: dict[str, Any], complaint: str) -> None:
    with Store.open(tmp_path / "s") as store:
        with pytest.raises(StoreError, match=complaint):
            store.verdicts.record(**{"query": QUERY, "crop": "one", "verdict": "confirmed", "user": "ana"} | more)
        assert store.verdicts.history(QUERY) == []
        assert store.audit.entries() == []
