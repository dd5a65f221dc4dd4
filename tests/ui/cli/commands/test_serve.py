"""`vestigo serve` as a process: how it starts, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.signed_in import PASSWORD, PATIENCE_S, PROGRAM
from tests.ui.conftest import Archive
from tools.label_studio import free_port
from vestigo.store.open import Store
from vestigo_ui.cli.main import run
from vestigo_ui.search.wire import socket_path
from vestigo_ui.web.auth.users import Role, Users

pytestmark = pytest.mark.slow

READY = re.compile(r"the server is on (http://[\d.:]+) \(Ctrl-C ends it\)\n")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of configuration and cache of this test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("c")))


@pytest.fixture
def empty_store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


@contextmanager
def serve(store: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Run `vestigo serve`; yield the process, its address and the lines before it was ready."""
    command = [*PROGRAM, "serve", "--store", store, "--port", str(free_port()), "--device", "cpu", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "500"}) as process:
        try:
            assert process.stderr is not None
            lines: list[str] = []
            while not (ready := READY.fullmatch(line := process.stderr.readline())):
                assert line, lines
                lines.append(line.strip())
            yield process, ready[1], lines
        finally:
            process.kill()


def test_server_answers_http_and_the_command(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    crop = archive.crops[0]["crop_id"]
    Users(Path(os.environ["XDG_CONFIG_HOME"]) / "vestigo" / "users.toml").add("viewer", Role.VIEWER, PASSWORD)
    with serve(archive.store) as (process, url, lines):
        assert lines == ["`vestigo search` and the screen of this account use this server"]
        token = httpx.post(f"{url}/v1/session", json={"name": "viewer", "password": PASSWORD}).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{url}/v1/search", json={"crops": [crop]}, headers=headers, timeout=PATIENCE_S)
        assert run(["search", crop, "--store", str(archive.store), "--json"]) == 0
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert answer.json() | {"seconds": 0} == printed | {"seconds": 0}
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        # Neither token nor password nor crop is in its output.
        assert process.stderr.read() == ""
    with Store.open(archive.store) as store:
        entries = [(entry.action, entry.user) for entry in store.audit.entries() if entry.action != "user"]
        assert store.audit.verify().intact
    assert [action for action, _ in entries] == ["sign-in", "search", "search"]
    assert entries[1] == ("search", "viewer")
    assert entries[2][1] != "viewer"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_server_and_removes_socket(empty_store: Path, ending: signal.Signals) -> None:
    with serve(empty_store) as (process, url, lines):
        assert [line.partition(":")[0].partition(",")[0] for line in lines] == [
            "no user can sign in over HTTP",
            "no model is loaded yet",
            "`vestigo search` and the screen of this account use this server",
        ]
        assert httpx.get(f"{url}/v1/health").json() == {"status": "ok"}
        assert socket_path(str(empty_store)).exists()
        process.send_signal(ending)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert not socket_path(str(empty_store)).exists()


def test_server_without_a_private_place_still_answers_http(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_store / ("x" * 120)))
    with serve(empty_store) as (_, url, lines):
        assert "is too long for a socket; name a shorter XDG_CACHE_HOME" in lines[-1]
        assert httpx.get(f"{url}/v1/health").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "passwords would cross the network unencrypted on 0.0.0.0"),
        (["--address", "0.0.0.0", "--behind-proxy", "192.0.2.1"], "has no user who could sign in"),
        (["--config", "nowhere.toml"], "nowhere.toml does not exist"),
        (["--tls-cert", "cert.pem"], "give both"),
        (["--behind-proxy", "no address"], "no address"),
    ],
)
def test_startup_error_is_one_line(
    empty_store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["serve", "--store", str(empty_store), *arguments]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_store_is_required(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("VESTIGO_STORE", raising=False)
    assert run(["serve"]) == 2
    assert "--store" in capsys.readouterr().err


def test_used_port_is_reported(empty_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--store", str(empty_store), "--port", str(port)]) == 2
    assert f"port {port} of 127.0.0.1" in capsys.readouterr().err.splitlines()[-1]
