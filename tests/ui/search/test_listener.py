"""`vestigo search` and a running server: the same answers and audit entries, and what happens when it ends."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.query_server import QueryServer, serve_store
from tests.ui.conftest import Archive
from vestigo.store.open import Store
from vestigo_models.errors import ConfigError, StoreUnavailable
from vestigo_ui.cli.commands import search as command
from vestigo_ui.search import client, listener, wire
from vestigo_ui.search.client import AuditedSearch, request_search
from vestigo_ui.search.listener import Listener, listen_locally
from vestigo_ui.search.request import SearchRequest
from vestigo_ui.search.warm import WarmSearch

Search = Callable[..., Any]
GROUNDS = ("--case", "12/26", "--authority", "order 7")


@pytest.fixture
def answered_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who answered each search of the command line: "server" or "itself"."""
    calls: list[str] = []

    def ask(*arguments: Any, **options: Any) -> Any:
        answer = request_search(*arguments, **options)
        calls.append("itself" if answer is None else "server")
        return answer

    monkeypatch.setattr(command, "request_search", ask)
    return calls


def audited(store: Path) -> list[dict[str, Any]]:
    """The entries of the audit log, without what differs between two equal requests."""
    with Store.open(store) as opened:
        assert opened.audit.verify().intact
        fields = ("user", "action", "snapshot", "case", "authority", "details")
        return [{name: getattr(entry, name) for name in fields} for entry in opened.audit.entries()]


def plain(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in ("seconds", "notes")}


def arguments_of(archive: Archive, tmp_path: Path) -> list[list[object]]:
    crops = [row["crop_id"] for row in archive.crops]
    frame = next(archive.footage.glob("gate-*.png"))
    return [
        [crops[0], "--top", 3, *GROUNDS],
        [crops[0], crops[5], "--cameras", "hall", "--from", "2026-05-01T08:00:01", "--to", "2026-05-01T08:00:03"],
        [frame, "--box", "10,10,40,90", "--where", "gender=male"],
        [frame, crops[1], "--rerank"],
        [crops[2], "--filter", "strict", "--model", "default"],
        ["--where", "gender=male", "--top", 5, "--html", tmp_path / "page.html"],
    ]


def test_server_answers_as_command_itself(
    archive: Archive, tmp_path: Path, search: Search, answered_by: list[str]
) -> None:
    requests = arguments_of(archive, tmp_path)
    own = [search(*request) for request in requests]
    page = (tmp_path / "page.html").read_text()
    entries = audited(archive.store)
    assert set(answered_by) == {"itself"}
    answered_by.clear()
    with serve_store(archive.store, tmp_path, people={}):
        served = [search(*request) for request in requests]
    assert set(answered_by) == {"server"}
    assert [plain(result) for result in served] == [plain(result) for result in own]
    assert [result["notes"] for result in served] == [result["notes"] for result in own]
    assert (tmp_path / "page.html").read_text() == page
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600
    assert audited(archive.store) == entries + entries


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such.jpg"],
        ["f" * 20],
        ["f" * 20, "--box", "1,2,3,4"],
        ["FRAME", "--box", "1,2,3"],
        ["FRAME", "--box", "9000,9000,5,5"],
        ["CROP", "--from", "yesterday"],
        ["CROP", "--cameras", "gatte"],
        ["CROP", "--where", "backpack=maybe"],
        ["CROP", "--filter", "nothing"],
        ["CROP", "--max-lost", "2"],
        ["CROP", "--model", "nothing"],
        ["CROP", "--case", "x" * 300],
        ["TEXT"],
        [],
        ["--where", "gender=male", "--rerank"],
    ],
    ids=" ".join,
)
def test_server_gives_errors_of_command(
    archive: Archive, tmp_path: Path, search: Search, server: QueryServer, arguments: list[str], answered_by: list[str]
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    places = {"FRAME": next(archive.footage.glob("*.png")), "CROP": archive.crops[0]["crop_id"], "TEXT": text}
    request = [places.get(argument, argument) for argument in arguments]
    served = search(*request, status=2)
    assert audited(archive.store) == []
    assert server.socket is not None
    server.socket.unlink()
    assert search(*request, status=2) == served
    assert answered_by == ["itself"]


def test_no_torch_and_no_catalogue_where_server_answers(archive: Archive, server: QueryServer) -> None:
    code = (
        "import sys; from vestigo_ui.cli.main import run; status = run(sys.argv[1:]); "
        "sys.exit(status or ' '.join({'torch', 'cv2', 'numpy', 'pandas', 'pyarrow', 'sqlalchemy', 'httpx'} "
        "& sys.modules.keys()))"
    )
    frame = next(archive.footage.glob("*.png"))
    words = ["search", frame, archive.crops[0]["crop_id"], "--store", archive.store, "--json"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "")
    assert '"results": [{"rank": 1' in done.stdout
    assert len(audited(archive.store)) == 1


def test_socket_is_private_and_removed(archive: Archive, tmp_path: Path) -> None:
    with serve_store(archive.store, tmp_path, people={}) as server:
        assert server.socket is not None
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
    assert not server.socket.exists()


def test_left_over_socket_is_ignored_and_replaced(archive: Archive, tmp_path: Path, search: Search) -> None:
    path = wire.socket_path(str(archive.store))
    wire.check_folder(path)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    crop = archive.crops[0]["crop_id"]
    assert search(crop)["notes"] == ""
    with serve_store(archive.store, tmp_path, people={}) as server:
        assert server.socket == path
        assert search(crop)["notes"] == ""
    assert len(audited(archive.store)) == 2


def test_second_server_leaves_socket_to_first(server: QueryServer) -> None:
    with listen_locally(server.warm) as path:
        assert path is None
    assert server.socket is not None
    assert server.socket.exists()


def test_other_version_is_not_used(
    archive: Archive, search: Search, server: QueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "own_version", lambda: "9.9")
    result = search(archive.crops[0]["crop_id"])
    assert result["notes"].splitlines() == [
        f"the server of this store runs Vestigo {wire.own_version()}, and this is 9.9: it is not used; restart it"
    ]
    assert len(audited(archive.store)) == 1


def test_server_of_replaced_store_is_not_used(archive: Archive, search: Search, server: QueryServer) -> None:
    copy = archive.copy(archive.store.with_name("copy"))
    archive.store.rename(archive.store.with_name("before"))
    copy.rename(archive.store)
    result = search(archive.crops[0]["crop_id"])
    assert result["notes"].startswith("the server serves a store that was at this path before")
    assert len(audited(archive.store)) == 1
    assert audited(archive.store.with_name("before")) == []


def test_server_on_other_device_is_not_used(
    archive: Archive, search: Search, server: QueryServer, answered_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crop = archive.crops[0]["crop_id"]
    assert search(crop, "--device", "cpu")["notes"] == ""
    monkeypatch.setattr(listener, "resolve_device", lambda _: "cuda")
    assert "computes on cuda, not on cpu: it is not used" in search(crop, "--device", "cpu")["notes"]
    assert answered_by == ["server", "itself"]
    assert len(audited(archive.store)) == 2


def test_other_accounts_are_not_answered(
    archive: Archive, search: Search, server: QueryServer, answered_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "is_own_process", lambda _: False)
    assert search(archive.crops[0]["crop_id"])["notes"] == ""
    assert answered_by == ["itself"]


def test_folder_that_others_can_open_is_not_used(
    archive: Archive, search: Search, server: QueryServer, answered_by: list[str]
) -> None:
    assert server.socket is not None
    server.socket.parent.chmod(0o755)
    search(archive.crops[0]["crop_id"])
    assert answered_by == ["itself"]
    with pytest.raises(ConfigError, match="accessible to other users"), listen_locally(server.warm):
        pass


def test_two_searches_at_the_same_time(archive: Archive, server: QueryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are inside the search before either goes on."""
    both = threading.Barrier(2, timeout=60)
    extract = WarmSearch._answer

    def answer(*arguments: Any) -> Any:
        both.wait()
        return extract(*arguments)

    monkeypatch.setattr(WarmSearch, "_answer", answer)
    crops = [row["crop_id"] for row in archive.crops[:2]]

    def ask(crop: str) -> Any:
        request = SearchRequest(crops=(crop,))
        answer = request_search(str(archive.store), request, AuditedSearch(), device="auto", report=pytest.fail)
        assert answer is not None
        return answer[0]

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(ask, crops))
    for crop, found in zip(crops, answers, strict=True):
        assert crop not in [hit["crop"] for hit in found["results"]]
    assert sorted(entry["details"]["query_crops"][0] for entry in audited(archive.store)) == sorted(crops)


def test_server_that_ends_during_a_search_leaves_it_to_the_command(
    archive: Archive, search: Search, server: QueryServer, answered_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(self: Listener, connection: socket.socket, asked: dict[str, Any]) -> bytes:
        connection.shutdown(socket.SHUT_RDWR)
        return b""

    monkeypatch.setattr(Listener, "_search", end)
    assert search(archive.crops[0]["crop_id"])["results"]
    assert answered_by == ["itself"]
    assert len(audited(archive.store)) == 1


def test_server_that_ends_while_it_records_gives_one_line(
    archive: Archive, search: Search, server: QueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(self: Listener, connection: socket.socket, asked: dict[str, Any]) -> bytes:
        wire.send(connection, wire.encode({"recording": True}))
        connection.shutdown(socket.SHUT_RDWR)
        return b""

    monkeypatch.setattr(Listener, "_search", end)
    error = search(archive.crops[0]["crop_id"], status=1)
    assert error.startswith("vestigo: the server of this store ended while it recorded the search")
    assert audited(archive.store) == []


def test_search_of_client_that_has_gone_is_not_recorded(
    archive: Archive, server: QueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    searching, gone, ended = threading.Event(), threading.Event(), threading.Event()
    answer, serve = WarmSearch.answer, Listener._serve

    def wait(*arguments: Any) -> Any:
        searching.set()
        assert gone.wait(60)
        return answer(*arguments)

    def end(*arguments: Any) -> None:
        serve(*arguments)
        ended.set()

    monkeypatch.setattr(WarmSearch, "answer", wait)
    monkeypatch.setattr(Listener, "_serve", end)
    assert server.socket is not None
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket))
        assert wire.receive(connection)["version"] == wire.own_version()
        request = SearchRequest(crops=(archive.crops[0]["crop_id"],)).to_json()
        asked = {"search": request, "audited": vars(AuditedSearch()), "device": "auto"}
        wire.send(connection, wire.encode(asked))
        assert searching.wait(60)
    gone.set()
    assert ended.wait(60)
    assert audited(archive.store) == []


def test_outage_of_catalogue_leaves_search_to_the_command(
    archive: Archive, search: Search, server: QueryServer, answered_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("catalogue postgresql://ana:secret@db/x does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(server.warm, "answer", fail)
        notes = search(archive.crops[0]["crop_id"])["notes"]
    assert "the server of this store is not used: catalogue postgresql://***@db/x does not answer" in notes
    assert answered_by == ["itself"]
    assert len(audited(archive.store)) == 1


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff\xff", b"\x00\x00\x00\x02{]", b"\x00\x00\x00\x02{}"])
def test_nonsense_does_not_stop_the_server(
    archive: Archive, search: Search, server: QueryServer, answered_by: list[str], data: bytes
) -> None:
    assert server.socket is not None
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket))
        wire.receive(connection)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass
    search(archive.crops[0]["crop_id"])
    assert answered_by == ["server"]


def test_images_beyond_the_limit_are_searched_by_the_command(
    archive: Archive, search: Search, server: QueryServer, answered_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = next(archive.footage.glob("*.png"))
    monkeypatch.setattr(wire, "MAX_MESSAGE", frame.stat().st_size)
    search(frame)
    assert answered_by == ["itself"]
    assert len(audited(archive.store)) == 1


def test_killed_server_leaves_a_socket_that_does_no_harm(archive: Archive, tmp_path: Path, search: Search) -> None:
    code = (
        "import sys; from vestigo.store.open import Store; from vestigo_ui.search.warm import WarmSearch; "
        "from vestigo_ui.search.listener import listen_locally\n"
        "with Store.open(sys.argv[1]) as store, listen_locally(WarmSearch(store)): print('ready', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(archive.store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert wire.socket_path(str(archive.store)).exists()
    assert search(archive.crops[0]["crop_id"])["notes"] == ""
    with serve_store(archive.store, tmp_path, people={}) as server:
        assert server.socket is not None
    assert len(audited(archive.store)) == 1
    assert not os.path.exists(server.socket)


def test_server_killed_during_a_search_leaves_it_to_the_command(archive: Archive, search: Search) -> None:
    code = (
        "import sys; from vestigo.store.open import Store; from vestigo_ui.search.warm import WarmSearch; "
        "from vestigo_ui.search.listener import listen_locally\n"
        "class Waiting(WarmSearch):\n"
        "    def answer(self, *_): print('searching', flush=True); sys.stdin.read()\n"
        "with Store.open(sys.argv[1]) as store, listen_locally(Waiting(store)): print('ready', flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(archive.store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout
        assert output is not None
        assert output.readline() == "ready\n"
        lines: list[str] = []

        def kill() -> None:
            lines.append(output.readline())
            process.kill()

        killing = threading.Thread(target=kill)
        killing.start()
        result = search(archive.crops[0]["crop_id"])
        killing.join()
    assert lines == ["searching\n"]
    assert result["results"]
    assert result["notes"] == ""
    assert len(audited(archive.store)) == 1
