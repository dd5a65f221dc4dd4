"""What the command line writes to the audit log, and how the log is shown and verified."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.support.review_archive import SCHEMA, answer, fill, people
from tests.ui.conftest import Archive
from vestigo.resolve import resolve_review_model
from vestigo.store.audit.records import query_key
from vestigo.store.open import Store
from vestigo.store.review.records import NewTask, SamplingDesign
from vestigo_ui.cli import options as accountable
from vestigo_ui.cli.main import run

Command = Callable[..., Any]


@pytest.fixture
def ref(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own with the shared archive's crops; the account is called ana."""
    monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_name="ana"))
    return archive.store


@pytest.fixture
def vestigo(ref: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str | Path, status: int = 0) -> Any:
        assert run([*map(str, arguments), "--store", str(ref), "--json"]) == status, capsys.readouterr().err
        shown = capsys.readouterr()
        return json.loads(shown.out) if not status else " ".join(shown.err.split())

    return call


def only_entry(ref: Path) -> dict[str, Any]:
    with Store.open(ref) as store:
        [entry] = store.audit.entries()
        assert entry.snapshot == store.crops.snapshot()
    return {"user": entry.user, "action": entry.action, "case": entry.case, "authority": entry.authority} | {
        "details": dict(entry.details)
    }


GROUNDS = ("--case", "12/26", "--authority", "order 7")
GIVEN = {"user": "ana", "case": "12/26", "authority": "order 7"}


def test_crop_search_is_logged(vestigo: Command, ref: Path, archive: Archive) -> None:
    crop = archive.crops[0]["crop_id"]
    result = vestigo("search", crop, "--top", "3", "--cameras", "gate", "--from", "2026-05-01", *GROUNDS)
    seen = [row["crop"] for row in result["results"]]
    assert seen
    assert only_entry(ref) == GIVEN | {
        "action": "search",
        "details": {
            "query": query_key(crops=[crop]),
            "query_crops": [crop],
            "cameras": ["gate"],
            "from": "2026-05-01T00:00:00+00:00",
            "filter": "off",
            "model": result["model"],
            "shown": len(seen),
            "crops": seen,
            "crops_sha256": hashlib.sha256("\n".join(seen).encode()).hexdigest(),
        },
    }


def test_image_and_attribute_searches_are_logged(vestigo: Command, ref: Path, archive: Archive) -> None:
    frame = next(archive.footage.glob("gate-*.png"))
    vestigo("search", frame, "--box", "10,10,40,90", "--device", "cpu", "--where", "gender=male")
    details = only_entry(ref)["details"]
    assert details["query"] == query_key(images=[frame.read_bytes()], box="10,10,40,90")
    assert (details["query_files"], details["box"], details["where"]) == ([str(frame)], "10,10,40,90", "gender=male")
    assert "query_crops" not in details
    vestigo("search", "--where", "gender=male")
    with Store.open(ref) as store:
        [newest] = store.audit.entries(newest=True, limit=1)
    assert newest.details["query"] == query_key(where="gender=male")
    assert newest.case is None


def test_ranking_and_exports_are_logged(vestigo: Command, ref: Path, tmp_path: Path) -> None:
    ranked = vestigo("rank", "--each-tracklet", "--name", "all", "--cameras", "hall", *GROUNDS)
    entry = only_entry(ref)
    assert {name: entry[name] for name in GIVEN} == GIVEN
    assert entry["action"] == "rank"
    assert entry["details"].items() >= {
        "ranking": "all", "queries": ranked["ranked"], "source": "every tracklet", "cameras": ["hall"], "top": 50
    }.items()  # fmt: skip
    vestigo("store", "export", tmp_path / "market", *GROUNDS)
    with Store.open(ref) as store:
        [newest] = store.audit.entries(newest=True, limit=1)
        model = resolve_review_model(store).digest
    assert (newest.action, newest.case, newest.authority) == ("export", "12/26", "order 7")
    assert newest.details == {"what": "crops", "to_folder": str(tmp_path / "market"), "model": model}


def test_changes_of_cameras_and_files_are_logged(vestigo: Command, ref: Path, tmp_path: Path) -> None:
    vestigo("cameras", "set", "gate", "--clock-offset", "2.5", *GROUNDS)
    with Store.open(ref) as store:
        [entry] = store.audit.entries()
    assert (entry.user, entry.action, entry.case, entry.authority) == ("ana", "camera", "12/26", "order 7")
    assert entry.details == {"cameras": ["gate"], "offsets_before_s": [0.0], "clock_offset_s": 2.5}
    vestigo("store", "vacuum", "--dry-run")
    vestigo("store", "vacuum", "--now")
    vestigo("search", "--where", "gender=male", "--html", tmp_path / "result.html")
    with Store.open(ref) as store:
        search, vacuum = store.audit.entries(newest=True, limit=2)
    assert (vacuum.user, vacuum.action, vacuum.details) == ("ana", "vacuum", {"now": True})
    assert search.details["to_file"] == str(tmp_path / "result.html")


def test_account_is_logged_beside_responsible_person(vestigo: Command, ref: Path) -> None:
    with Store.open(ref) as store:
        model = resolve_review_model(store).digest
    vestigo("models", "promote", model, "--force", "--reason", "checked", "--by", "bert")
    vestigo("models", "rollback", "--by", "carl")
    with Store.open(ref) as store:
        entries = store.audit.entries()
    actions = [(entry.user, entry.action, entry.details["by"]) for entry in entries]
    assert actions == [("ana", "promote", "bert"), ("ana", "rollback", "carl")]


def test_changes_of_users_are_logged(ref: Path, tmp_path: Path) -> None:
    users, password = tmp_path / "users.toml", tmp_path / "password"
    password.write_text("long enough for it")
    add = ["add", "bert", "--role", "viewer", "--password-file", str(password)]
    assert run(["ui", "user", *add, "--users", str(users)]) == 0
    for change in (["role", "bert", "admin"], ["password", "bert", *add[-2:]], ["remove", "bert"]):
        assert run(["ui", "user", *change, "--users", str(users), "--store", str(ref)]) == 0
    with Store.open(ref) as store:
        entries = store.audit.entries(action="user")
    expected = [("add", "viewer"), ("role", "admin"), ("password", None), ("remove", None)]
    assert [(entry.details["change"], entry.details.get("role")) for entry in entries] == expected
    assert {(entry.user, entry.details["name"]) for entry in entries} == {("ana", "bert")}
    assert "long enough" not in json.dumps([dict(entry.details) for entry in entries])
    assert users.with_suffix(".log").stat().st_mode & 0o777 == 0o600


def test_label_export_is_logged(vestigo: Command, ref: Path, tmp_path: Path) -> None:
    shutil.rmtree(ref)
    rows, truth = people(4)
    fill(ref, rows)
    with Store.open(ref) as store:
        store.review.ensure_project("spring", SCHEMA)
        draw = SamplingDesign(
            model=store.models.list()[0].digest, strategy="random", unit="tracklet", budget=1, seed=0, population=1
        )
        task = NewTask(
            key="k", source="gate", tracklet="t0000", camera="c1", time=None, pid=None,
            crops=(rows[0]["crop_id"],), prediction=[],
        )  # fmt: skip
        store.review.save_sample("spring", draw, [task], iter(()))
        answer(store, "spring", truth)
    kept = vestigo("label", "export", "--out", tmp_path / "labels.csv", *GROUNDS)
    assert only_entry(ref) == GIVEN | {
        "action": "export",
        "details": {
            "what": "labels",
            "to_file": str(tmp_path / "labels.csv"),
            "label_set": 1,
            "digest": kept["digest"],
            "labels": kept["labels"],
            "projects": ["spring"],
        },
    }


def test_command_prints_nothing_without_audit_entry(
    vestigo: Command, ref: Path, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Store.open

    def read_only(*arguments: Any, **more: Any) -> Store:
        store = opened(*arguments, **more)
        store.database.close()
        event.listen(
            store.database._engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON")
        )
        return store

    monkeypatch.setattr(Store, "open", read_only)
    crop = archive.crops[0]["crop_id"]
    for command in (
        ("search", crop, "--html", tmp_path / "found.html"),
        ("rank", "--each-tracklet", "--name", "all"),
        ("store", "export", tmp_path / "market"),
    ):
        output = vestigo(*command, status=2)
        assert "cannot be written (attempt to write a readonly database), and what is not logged is not shown" in output
        assert crop not in output
    assert not (tmp_path / "found.html").exists()
    assert not (tmp_path / "market").exists()


def test_refused_commands_are_not_logged(vestigo: Command, ref: Path, archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty.txt").touch()
    crop = archive.crops[0]["crop_id"]
    rank = ("rank", "--each-tracklet", "--name", "all")
    for command, message in {
        (*rank, "--where", "gender=mle"): "mle",
        (*rank, "--where", "hatt=yes"): "hatt",
        (*rank, "--cameras", "gatte"): "gatte",
        (*rank, "--filter", "odd"): "odd",
        ("rank", tmp_path / "empty.txt", "--name", "all"): "names no crop",
        ("search", crop, "--where", "gender=mle"): "mle",
        ("search", "--where", "hatt=yes"): "hatt",
        ("store", "export", tmp_path / "full"): "not an empty folder",
        ("store", "export", tmp_path / "market", "--cameras", "gatte"): "gatte",
        ("cameras", "set", "gatte", "--clock-offset", "1"): "gatte",
        ("cameras", "set", "gate", "--clock-offset", "nan"): "nan",
        ("label", "export", "--project", "spring", "--out", tmp_path / "labels.csv"): "spring",
        ("label", "export", "--out", tmp_path / "labels.txt"): "labels.txt",
        ("label", "push", "--project", "p", "--cameras", "gatte", "--dry-run"): "gatte",
        ("models", "promote", "odd"): "odd",
        ("models", "rollback"): "nothing to roll back",
        ("runs", "retry", "odd"): "odd",
    }.items():
        assert message in vestigo(*command, status=2), command
    with Store.open(ref) as store:
        assert [(entry.action, entry.details) for entry in store.audit.entries()] == []


@pytest.fixture
def log(ref: Path) -> Path:
    """Seven entries of two users."""
    with Store.open(ref) as store:
        for number in range(6):
            store.audit.record("ana" if number % 2 else "ben", "view", details={"number": number}, case=f"c{number}")
        store.audit.record("=HYPERLINK(1) [red]", "sign-in refused", details={"note": "x" * 200})
    return ref


def test_log_is_filtered_and_newest_first(vestigo: Command, log: Path) -> None:
    def ids(*arguments: str) -> list[int]:
        shown = vestigo("audit", "show", *arguments)
        assert (shown["intact"], shown["file"]) == (True, None)
        return [entry["id"] for entry in shown["entries"]]

    assert ids() == ids("--limit", "0") == [7, 6, 5, 4, 3, 2, 1]
    assert ids("--limit", "2") == [7, 6]
    assert ids("--user", "ana") == [6, 4, 2]
    assert ids("--user", "ben", "--limit", "1") == [5]
    assert ids("--action", "sign-in refused") == [7]
    assert ids("--case", "c2") == [3]
    assert "'watch' is not an action of the audit log: sign-in, " in vestigo(
        "audit", "show", "--action", "watch", status=2
    )


def test_log_is_printed_as_table(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "show", "--store", str(log)]) == 0
    shown = capsys.readouterr().out
    assert "=HYPERLINK(1) [red]" in shown
    assert '"number":' in shown
    assert "x" * 200 not in shown
    assert shown.rstrip().endswith("the log is intact")


def test_csv_cells_are_no_formulas(vestigo: Command, log: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("vestigo_ui.cli.commands.audit.PAGE_ROWS", 3)
    result = vestigo("audit", "show", "--limit", "0", "--csv", tmp_path / "log.csv")
    assert result == {"entries": 8, "intact": True, "file": str(tmp_path / "log.csv")}
    with (tmp_path / "log.csv").open(newline="") as stream:
        export, *rows = list(csv.DictReader(stream))
    assert json.loads(export["details"]) == {"what": "audit log", "to_file": str(tmp_path / "log.csv"), "limit": 0}
    assert [row["id"] for row in rows] == [str(number) for number in range(7, 0, -1)]
    assert rows[0]["user"] == "'=HYPERLINK(1) [red]"
    assert json.loads(rows[1]["details"]) == {"number": 5}
    assert rows[0]["previous"] == rows[1]["digest"]
    assert [path.name for path in tmp_path.glob("log.csv*")] == ["log.csv"]


def test_broken_chain_exits_1_with_one_line(vestigo: Command, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = vestigo("audit", "verify")
    assert (report["entries"], report["intact"], report["problems"]) == (7, True, [])
    with Store.open(log) as store:
        assert report["head"] == store.audit.entries(newest=True, limit=1)[0].digest
        with store.database.write() as session:
            session.execute(text("UPDATE audit SET \"user\" = 'eve' WHERE id IN (2, 3)"))
    assert run(["audit", "verify", "--store", str(log), "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["problems"] == ["entry 2 was changed", "entry 3 was changed"]
    line = f"vestigo: the audit log of store {log} is not intact: entry 2 was changed (and 1 more findings)"
    assert " ".join(shown.err.split()) == line
    assert run(["audit", "verify", "--store", str(log)]) == 1
    assert "entry 3 was changed" in capsys.readouterr().out
    assert vestigo("audit", "show")["intact"] is False
    assert run(["audit", "show", "--store", str(log)]) == 0
    assert "the log is not intact: see `vestigo audit verify`" in capsys.readouterr().out


def test_account_without_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    assert accountable.login() != "somebody-else"

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert accountable.login().startswith("uid ")
