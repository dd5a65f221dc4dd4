"""The server of `vestigo serve` in a thread of the test: over HTTP, and on the socket of its store."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tests.support.signed_in import PASSWORD, PATIENCE_S, PEOPLE
from vestigo.store.open import Store
from vestigo_ui.search.listener import listen_locally
from vestigo_ui.search.warm import WarmSearch
from vestigo_ui.web.api.app import make_api
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.sign_in import audit_events
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.server.binding import Binding, listen
from vestigo_ui.web.settings import Settings

VIEWER = {"viewer": Role.VIEWER}


@dataclass(frozen=True, kw_only=True)
class QueryServer:
    """A running server: its address, store, users, and the socket for processes of this account."""

    url: str
    warm: WarmSearch
    users: Users
    sessions: Sessions
    socket: Path | None
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The open store."""
        return self.warm.store

    def client(self, name: str | None = None, password: str = PASSWORD) -> httpx.Client:
        """Return a client, signed in if a name is given; it is closed with the server."""
        client = httpx.Client(base_url=self.url, timeout=PATIENCE_S)
        self.clients.append(client)
        if name is not None:
            answer = client.post("/v1/session", json={"name": name, "password": password})
            assert answer.status_code == 201, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return client


@contextmanager
def serve_store(
    store: Path, folder: Path, *, people: Mapping[str, Role] = PEOPLE, configured: dict[str, Any] | None = None
) -> Iterator[QueryServer]:
    """Serve a store; the names in `people` sign in with PASSWORD."""
    users, settings = Users(folder / "users.toml"), Settings.model_validate(configured or {})
    for name, role in people.items():
        users.add(name, role, PASSWORD)
    sessions = Sessions(users, settings)
    with Store.open(store) as opened:
        warm = WarmSearch(opened, "cpu")
        app = make_api(warm, sessions, settings, audit_events(opened, users))
        with listen(Binding(port=0)) as listener, listen_locally(warm) as path:
            config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            running = QueryServer(url=url, warm=warm, users=users, sessions=sessions, socket=path)
            try:
                yield running
            finally:
                for client in running.clients:
                    client.close()
                server.should_exit = True
                thread.join()


def entries(server: QueryServer, *actions: str) -> list[Any]:
    assert server.store.audit.verify().intact
    return [entry for entry in server.store.audit.entries() if entry.action in actions]


def refused(answer: httpx.Response, status: int) -> str:
    """Return the one line of a refusal."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"error"}
    assert len(body["error"].splitlines()) == 1
    assert "Traceback" not in body["error"]
    return str(body["error"])
