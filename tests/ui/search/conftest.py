from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.query_server import QueryServer, serve_store
from tests.ui.conftest import Archive
from vestigo_ui.cli.main import run

Search = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test, with a path that is short enough for sockets."""
    folder = tmp_path_factory.mktemp("c")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def server(archive: Archive, tmp_path: Path) -> Iterator[QueryServer]:
    with serve_store(archive.store, tmp_path, people={}) as server:
        yield server


@pytest.fixture
def search(archive: Archive, capsys: pytest.CaptureFixture[str]) -> Search:
    """`search(*arguments, status=0)`: what `vestigo search --json` prints, or its error."""

    def call(*arguments: object, status: int = 0) -> Any:
        command = ["search", *map(str, arguments), "--store", str(archive.store), "--json"]
        assert run(command) == status, capsys.readouterr().err
        shown = capsys.readouterr()
        return " ".join(shown.err.split()) if status else json.loads(shown.out) | {"notes": shown.err}

    return call
