"""The audit log: who did what stays written, and whatever somebody does to it afterwards is found."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from vestigo.store import faults
from vestigo.store.audit.log import NAMED, ORIGIN, PAGE_ROWS
from vestigo.store.audit.records import query_key, shown_crops
from vestigo.store.open import Store
from vestigo_models.errors import StoreError

pytestmark = pytest.mark.slow

FORKS = multiprocessing.get_context("forkserver")
SNAPSHOT = "5" * 64
ENTRIES = 9


@pytest.fixture
def store(store_ref: Path) -> Iterator[Store]:
    with Store.open(store_ref) as opened:
        yield opened


def fill(store: Store, count: int = ENTRIES) -> None:
    for number in range(count):
        store.audit.record(
            "ana" if number % 2 else "ben", "search", details={"number": number}, snapshot=SNAPSHOT, case=f"c{number}"
        )


def change(store: Store, *statements: str) -> None:
    """What somebody with access to the database does."""
    with store.database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def test_entries_are_chained_as_written_down(store: Store) -> None:
    details = {
        "where": "hat=yes",
        "share": 0.1 + 0.2,
        "crops": ["ä", "\U0001f600"],
        "none": None,
        "nested": {"b": 1, "a": [-0.0]},
    }
    before = datetime.now(UTC)
    first = store.audit.record("ana", "search", details=details, case=" 12/26 ", authority="court order 7")
    second = store.audit.record("ben", "sign-out", details={}, snapshot=SNAPSHOT)
    assert store.audit.entries() == [first, second]
    assert (first.id, first.user, first.action, first.case, first.authority) == (
        1, "ana", "search", "12/26", "court order 7"
    )  # fmt: skip
    assert first.details == details
    assert first.snapshot == store.crops.snapshot()
    assert before <= first.at <= second.at <= datetime.now(UTC)
    assert (first.previous, second.previous) == (ORIGIN, first.digest)
    for entry in (first, second):
        content = {
            "action": entry.action, "at": entry.at.isoformat(timespec="microseconds"), "authority": entry.authority,
            "case": entry.case, "details": entry.details, "id": entry.id, "previous": entry.previous,
            "snapshot": entry.snapshot, "user": entry.user,
        }  # fmt: skip
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(canonical.encode("ascii")).hexdigest() == entry.digest
    report = store.audit.verify()
    assert (report.entries, report.head, report.intact, report.problems) == (2, second.digest, True, ())


def test_an_empty_log_is_intact(store: Store) -> None:
    report = store.audit.verify()
    assert (report.entries, report.head, report.intact) == (0, ORIGIN, True)
    assert store.audit.entries() == []


def test_entries_are_paged_and_chosen(store: Store) -> None:
    fill(store)

    def ids(**choice: Any) -> list[int]:
        return [entry.id for entry in store.audit.entries(**choice)]

    assert ids(limit=4) == [1, 2, 3, 4]
    assert ids(limit=4, after=4) == [5, 6, 7, 8]
    assert ids(limit=4, newest=True) == [9, 8, 7, 6]
    assert ids(limit=4, newest=True, after=6) == [5, 4, 3, 2]
    assert ids(user="ana") == [2, 4, 6, 8]
    assert ids(user="ana", newest=True, limit=2) == [8, 6]
    assert ids(case="c3") == [4]
    assert ids(action="view") == []


CHANGES = {
    "user": "UPDATE audit SET \"user\" = 'eve' WHERE id = 5",
    "time": "UPDATE audit SET at = (SELECT at FROM audit WHERE id = 1) WHERE id = 5",
    "action": "UPDATE audit SET action = 'view' WHERE id = 5",
    "snapshot": f"UPDATE audit SET snapshot = '{'6' * 64}' WHERE id = 5",
    "case": "UPDATE audit SET case_number = NULL WHERE id = 5",
    "authority": "UPDATE audit SET authority = 'given later' WHERE id = 5",
    "details": "UPDATE audit SET details = '{}' WHERE id = 5",
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_entry_is_found(store: Store, column: str) -> None:
    fill(store)
    change(store, CHANGES[column])
    report = store.audit.verify()
    assert (report.entries, report.intact, report.problems) == (9, False, ("entry 5 was changed",))


COPY = (
    'INSERT INTO audit (id, at, "user", action, snapshot, case_number, authority, details, previous, digest) '
    "SELECT {id}, at, 'eve', action, snapshot, case_number, authority, details, {previous}, digest "
    "FROM audit WHERE id = {of}"
)
MOVE = "UPDATE audit SET id = {to} WHERE id = {id}"


def changed(number: int) -> str:
    return f"entry {number} was changed"


def strays(number: int) -> str:
    return f"entry {number} does not follow the one before it"


TAMPERING: dict[str, tuple[list[str], list[str]]] = {
    "another link": (["UPDATE audit SET previous = digest WHERE id = 5"], [strays(5), changed(5)]),
    "another digest": (["UPDATE audit SET digest = previous WHERE id = 5"], [changed(5), strays(6)]),
    "one removed": (["DELETE FROM audit WHERE id = 5"], ["entry 5 was removed"]),
    "first ones removed": (["DELETE FROM audit WHERE id < 4"], ["entries 1 to 3 were removed"]),
    "last one cut off": (["DELETE FROM audit WHERE id > 8"], ["entry 9 was cut off the end"]),
    "end cut off": (["DELETE FROM audit WHERE id > 7"], ["entries 8 to 9 were cut off the end"]),
    "all cut off": (["DELETE FROM audit"], ["entries 1 to 9 were cut off the end"]),
    "head removed": (["DELETE FROM audit_head"], ["the recorded end of the log was removed"]),
    "head set back": (["UPDATE audit_head SET entries = 8"], ["entry 9 was added past the recorded end"]),
    "another head": (["UPDATE audit_head SET digest = ''"], ["the last entry is not the one that was written last"]),
    "added at the end": (
        [COPY.format(id=10, previous="digest", of=9)],
        [changed(10), "entry 10 was added past the recorded end"],
    ),
    "added at the beginning": ([COPY.format(id=0, previous="previous", of=1)], [changed(0), strays(1)]),
    "removed and moved up": (
        ["DELETE FROM audit WHERE id = 5", MOVE.format(id=6, to=5)],
        [strays(5), changed(5), "entry 6 was removed"],
    ),
    "added between": (
        [
            *(MOVE.format(id=number, to=number + 1) for number in range(9, 4, -1)),
            COPY.format(id=5, previous="digest", of=4),
        ],
        [*map(changed, range(5, 11)), "entry 10 was added past the recorded end"],
    ),
    "swapped": (
        [MOVE.format(id=4, to=100), MOVE.format(id=5, to=4), MOVE.format(id=100, to=5)],
        [strays(4), changed(4), strays(5), changed(5), strays(6)],
    ),
}


@pytest.mark.parametrize("deed", TAMPERING)
def test_tampered_chain_is_detected(store: Store, deed: str) -> None:
    statements, problems = TAMPERING[deed]
    fill(store)
    change(store, *statements)
    report = store.audit.verify()
    assert not report.intact
    assert list(report.problems) == problems


def test_tampering_is_detected_after_later_entries(store: Store) -> None:
    fill(store)
    change(store, "DELETE FROM audit WHERE id > 7")
    fill(store, 2)
    assert store.audit.verify().problems == ("entries 8 to 9 were removed",)
    change(store, "DELETE FROM audit WHERE id = 11")
    assert store.audit.verify().problems == ("entries 8 to 9 were removed", "entry 11 was cut off the end")


def test_forged_log_end_refuses_new_entries(store: Store) -> None:
    fill(store, 2)
    change(store, COPY.format(id=3, previous="digest", of=2))
    with pytest.raises(StoreError, match=r"audit entry 3 was written outside this program: see `vestigo audit verify`"):
        fill(store, 1)
    change(store, "DELETE FROM audit_head")
    with pytest.raises(StoreError, match=r"the end of the audit log was removed: see `vestigo audit verify`"):
        fill(store, 1)


def test_unreadable_entries_are_reported(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        fill(store)
        change(
            store,
            "UPDATE audit SET details = 'no JSON' WHERE id = 3",
            "UPDATE audit SET at = 'no time' WHERE id = 4",
            "UPDATE audit SET \"user\" = x'00ff' WHERE id = 5",
        )
        assert store.audit.verify().problems == tuple(f"entry {number} was changed" for number in (3, 4, 5))
        with pytest.raises(StoreError, match="an entry of the audit log cannot be read: `vestigo audit verify`"):
            store.audit.entries()


def test_long_logs_are_verified_in_pages_with_few_problems_listed(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        fill(store, 3)
        total = 2 * PAGE_ROWS + 3
        with store.database.write() as session:
            extend(session, total)
        messages: list[tuple[int, int]] = []
        report = store.audit.verify(lambda done, all_: messages.append((done, all_)))
        assert (report.entries, report.intact) == (total, True)
        assert messages == [(PAGE_ROWS, total), (2 * PAGE_ROWS, total), (total, total)]
        change(store, "UPDATE audit SET \"user\" = 'eve' WHERE id > 1000", "DELETE FROM audit_head")
        problems = store.audit.verify().problems
        assert problems[:2] == ("entry 1001 was changed", "entry 1002 was changed")
        assert problems[NAMED:] == ("the recorded end of the log was removed", f"and {total - 1000 - NAMED} more")


def extend(session: Session, total: int) -> None:
    from vestigo.store.audit.log import append_entry

    for number in range(3, total):
        more = {"snapshot": SNAPSHOT, "case": None, "authority": None, "details": {"number": number}}
        append_entry(session, user="ana", action="view", **more)  # type: ignore[arg-type]


def test_interrupted_write_leaves_no_file(store: Store) -> None:
    fill(store, 2)

    def stop(name: str) -> None:
        if name == "audit.inside":
            raise RuntimeError(name)

    faults.install(stop)
    try:
        with pytest.raises(RuntimeError):
            fill(store, 1)
    finally:
        faults.install(None)
    fill(store, 1)
    assert [entry.id for entry in store.audit.entries()] == [1, 2, 3]
    assert store.audit.verify().intact


def write_many(ref: Path, user: str, count: int) -> None:
    with Store.open(ref) as store:
        for number in range(count):
            store.audit.record(user, "view", details={"number": number})


def test_processes_never_fork_the_chain(store: Store, store_ref: Path) -> None:
    users = ("ana", "ben", "cleo")
    processes = [FORKS.Process(target=write_many, args=(store_ref, user, 20)) for user in users]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    report = store.audit.verify()
    assert (report.entries, report.problems) == (60, ())
    for user in users:
        assert [entry.details["number"] for entry in store.audit.entries(user=user)] == list(range(20))


def test_a_read_only_catalogue_refuses_by_name(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        store.database.close()
        event.listen(
            store.database._engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON")
        )
        with pytest.raises(StoreError, match=r"audit log cannot be written \(attempt to write a readonly"):
            fill(store, 1)
        assert store.audit.verify().intact


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"details": {"image": b"\xff\xd8"}}, "details of an audit entry must be JSON: Object of type bytes"),
        ({"details": {"share": float("nan")}}, "details of an audit entry must be JSON: Out of range float"),
        ({"details": {"crops": ["c" * 20] * 3000}}, "more than 65536: shorten them"),
        ({"case": "1\n2"}, "case number .* one line of at most 200 characters is kept"),
        ({"authority": "x" * 201}, "authorisation reference 'x+': one line"),
        ({"action": "watch"}, "'watch' is not an action of the audit log: sign-in, sign-in refused"),
    ],
)
def test_invalid_entries_are_refused(tmp_path: Path, more: dict[str, Any], complaint: str) -> None:
    with Store.open(tmp_path / "s") as store:
        with pytest.raises(StoreError, match=complaint):
            store.audit.record(**{"user": "ana", "action": "view", "details": {}} | more)
        assert store.audit.entries() == []


def test_typed_names_are_cleaned_and_shortened(store: Store) -> None:
    entry = store.audit.record("a\0b\n" + "c" * 300 + "\ud800", "sign-in refused", details={"typed": "\0\ud800"})
    assert entry.user == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}" + "c" * 196
    assert store.audit.entries() == [entry]
    assert store.audit.verify().intact


def test_the_key_of_a_query_does_not_depend_on_the_order_of_views() -> None:
    assert query_key(crops=["a", "b"], images=[b"1", b"2"]) == query_key(crops=["b", "a"], images=[b"2", b"1"])
    keys = [
        query_key(crops=["a"]), query_key(crops=["a", "b"]), query_key(images=[b"a"]),
        query_key(images=[b"a"], box="1,2,3,4"), query_key(where="a"), query_key(crops=["a"], where="a"),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


def test_many_crops_are_summed_up() -> None:
    crops = [f"{number:020x}" for number in range(1500)]
    details = shown_crops(crops)
    assert (details["shown"], details["crops"]) == (1500, crops[:1000])
    assert details["crops_sha256"] == hashlib.sha256("\n".join(crops).encode()).hexdigest()
