from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.query_server import VIEWER, QueryServer, serve_store
from tests.ui.conftest import Archive


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("c")))
        yield


@pytest.fixture
def server(archive: Archive, tmp_path: Path) -> Iterator[QueryServer]:
    with serve_store(archive.store, tmp_path, people=VIEWER) as server:
        yield server


@pytest.fixture(scope="module")
def refusing(
    pristine: Archive, tmp_path_factory: pytest.TempPathFactory, cache: None
) -> Iterator[tuple[QueryServer, httpx.Client]]:
    """A server with a signed-in client, for requests that change nothing."""
    folder = tmp_path_factory.mktemp("refusing")
    with serve_store(pristine.copy(folder / "store"), folder, people=VIEWER) as server:
        yield server, server.client("viewer")
