"""The running server over HTTP: without a valid session, it returns no data."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support import probe_app, web_client
from tests.support.probe_app import CAMERA, CROP
from tests.support.signed_in import PASSWORD, Screen, serve_app
from tests.support.web_client import MEDIA, cookie_of, looked_at, sign_in, visitor
from tools.label_studio import free_port
from vestigo.store.open import Store
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import Settings

pytestmark = pytest.mark.slow

PROBE = Path(probe_app.__file__)
PROGRAM = (
    sys.executable,
    "-c",
    f"from pathlib import Path; from vestigo_ui.web.server import run; run.SCRIPT = Path({str(PROBE)!r}); "
    "from vestigo_ui.cli.main import main; main()",
)
JPEG = b"\xff\xd8\xff"
PRIVATE = (CROP.encode(), CAMERA.encode(), JPEG)


@dataclass(frozen=True)
class Probe:
    """The server, its store, and the addresses of an image and of a download that a signed-in user has."""

    screen: Screen
    store: Path
    media: tuple[str, ...]
    streamlit_session: str

    def sessions(self, **settings: object) -> Sessions:
        """Sessions with the server's key."""
        return Sessions(self.screen.users, Settings.model_validate(settings))


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    folder = tmp_path_factory.mktemp("guard")
    Store.open(folder / "store").close()
    with serve_app(folder / "store", folder, program=PROGRAM) as screen:
        with visitor(screen.url) as client:
            assert sign_in(client, "viewer").status_code == 303
            shown, session = looked_at(screen.url, cookie_of(client))
            assert CROP.encode() in shown
            assert CAMERA.encode() in shown
            media = tuple(sorted({address.decode() for address in MEDIA.findall(shown)}))
            bodies = [client.get(path) for path in media]
        assert [body.status_code for body in bodies] == [200, 200]
        assert any(body.content.startswith(JPEG) for body in bodies)
        assert any(CROP.encode() in body.content for body in bodies)
        yield Probe(screen, folder / "store", media, session)


def no_cookie(probe: Probe) -> str:
    return ""


def forged(probe: Probe) -> str:
    facts, _, signature = _cookie(probe.sessions(), "admin", Role.ADMIN).rpartition(".")
    return f"{facts}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def signed_by_another_key(probe: Probe) -> str:
    from itsdangerous import URLSafeSerializer

    version = probe.screen.users.accounts()["admin"].version
    facts = {"i": "1", "u": "admin", "r": "admin", "k": "password", "v": version, "t": time.time()}
    return f"{probe.sessions().cookie}={URLSafeSerializer('guessed', salt='session').dumps(facts)}"


def expired(probe: Probe) -> str:
    return _cookie(Sessions(probe.screen.users, Settings(), clock=lambda: time.time() - 13 * 3600), "admin", Role.ADMIN)


def removed_user(probe: Probe) -> str:
    return _cookie_before(probe, lambda: probe.screen.users.remove("passing"))


def changed_password(probe: Probe) -> str:
    return _cookie_before(probe, lambda: probe.screen.users.set_password("passing", "quite another one"))


def changed_role(probe: Probe) -> str:
    return _cookie_before(probe, lambda: probe.screen.users.set_role("passing", Role.ADMIN))


def added_again(probe: Probe) -> str:
    def again() -> None:
        probe.screen.users.remove("passing")
        probe.screen.users.add("passing", Role.VIEWER, PASSWORD)

    return _cookie_before(probe, again)


def signed_out(probe: Probe) -> str:
    with visitor(probe.screen.url) as client:
        sign_in(client, "viewer")
        cookie = cookie_of(client)
        assert client.get("/", headers={"Accept": "text/html"}).status_code == 200
        assert client.post("/sign-out").headers["location"] == "/sign-in"
    return cookie


def raised_role(probe: Probe) -> str:
    return _cookie(probe.sessions(), "viewer", Role.ADMIN)


def unknown_provider(probe: Probe) -> str:
    sessions = probe.sessions()
    return f"{sessions.cookie}={sessions.begin('oidc:anna', Role.ADMIN, 'oidc', 'any')}"


def _cookie(sessions: Sessions, name: str, role: Role) -> str:
    version = sessions.users.accounts()[name].version
    return f"{sessions.cookie}={sessions.begin(name, role, 'password', version)}"


def _cookie_before(probe: Probe, change: Callable[[], None]) -> str:
    users = probe.screen.users
    if "passing" in users.accounts():
        users.remove("passing")
    users.add("passing", Role.VIEWER, PASSWORD)
    with visitor(probe.screen.url) as client:
        assert sign_in(client, "passing").status_code == 303
        assert client.get(probe.media[0]).status_code == 200
        change()
        return cookie_of(client)


INVALID_COOKIES = [
    no_cookie,
    forged,
    signed_by_another_key,
    expired,
    removed_user,
    changed_password,
    changed_role,
    added_again,
    signed_out,
    raised_role,
    unknown_provider,
]


@pytest.mark.parametrize("cookie_for", INVALID_COOKIES, ids=lambda case: case.__name__)
def test_invalid_session_reaches_nothing_of_the_app(probe: Probe, cookie_for: Callable[[Probe], str]) -> None:
    cookie = cookie_for(probe)
    upload = f"/_stcore/upload_file/{probe.streamlit_session}/a"
    addresses = [
        *probe.media,
        "/",
        "/find",
        f"/?crop={CROP}",
        "/index.html",
        "/static/js/index.js",
        "/_stcore/host-config",
        "/_stcore/metrics",
        "/_stcore/script-health-check",
        "/_stcore/agent/interact",
        "/_stcore/bidi-components/probe",
        "/component/probe/index.html",
        "/app/static/anything",
        "//media/x",
        "/sign-in/../media/x",
        "/oidc",
        "/_stcore/health/",
    ]
    with visitor(probe.screen.url, cookie) as client:
        responses = [client.get(address) for address in addresses]
        responses += [client.get(address, headers={"Range": "bytes=0-10"}) for address in probe.media]
        responses += [client.put(upload, files={"file": b"picture"}), client.delete(upload), client.post(upload)]
        responses += [client.post("/_stcore/agent/interact", json={}), client.options("/media/x")]
        assert {response.status_code for response in responses} == {401}
        assert {response.text for response in responses} == {"sign in first"}
        pages = [client.get(address, headers={"Accept": "text/html"}) for address in addresses]
        assert {page.status_code for page in pages} == {303}
        assert {page.content for page in pages} == {b""}
        assert all(page.headers["location"].startswith("/sign-in") for page in pages)
        assert all(response.headers["cache-control"] == "no-store" for response in (*responses, *pages))
        health = client.get("/_stcore/health")
        assert (health.status_code, health.text) == (200, "ok")
        everything = [response.content for response in (*responses, *pages, client.get("/sign-in"), health)]
    assert [body for body in everything for mark in PRIVATE if mark in body] == []
    with pytest.raises(InvalidStatus) as refused, web_client.socket(probe.screen.url, cookie):
        pass
    assert refused.value.response.status_code == 403
    assert not any(mark in (refused.value.response.body or b"") for mark in PRIVATE)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_websocket_of_another_site_is_refused(probe: Probe, origin: str) -> None:
    with visitor(probe.screen.url) as client:
        sign_in(client, "viewer")
        cookie = cookie_of(client)
    with pytest.raises(InvalidStatus) as refused, web_client.socket(probe.screen.url, cookie, origin):
        pass
    assert refused.value.response.status_code == 403


def test_user_headers_of_a_request_are_removed(probe: Probe) -> None:
    claims = {"X_Vestigo_User": "admin", "X_Vestigo_Role": "admin", "x_vestigo_session": "mine"}
    with visitor(probe.screen.url) as client:
        forged_response = client.get("/", headers={name.replace("_", "-"): value for name, value in claims.items()})
        assert forged_response.status_code == 401
        sign_in(client, "viewer")
        shown, _ = looked_at(probe.screen.url, cookie_of(client), **claims)
    assert b"headers: viewer viewer " in shown
    assert b"user: viewer viewer " in shown
    assert b"admin" not in shown
    assert b"mine" not in shown


def test_open_websocket_closes_when_its_session_ends(probe: Probe) -> None:
    users = probe.screen.users
    users.add("leaving", Role.VIEWER, PASSWORD)
    with visitor(probe.screen.url) as client:
        sign_in(client, "leaving")
        cookie = cookie_of(client)
    with web_client.socket(probe.screen.url, cookie) as connection:
        assert CROP.encode() in web_client.rerun(connection)[0]
        users.remove("leaving")
        with pytest.raises(ConnectionClosed) as closed:
            web_client.rerun(connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_upload_requires_the_xsrf_token(probe: Probe) -> None:
    with visitor(probe.screen.url) as client:
        sign_in(client, "viewer")
        with web_client.socket(probe.screen.url, cookie_of(client)) as connection:
            _, session = web_client.rerun(connection)
            address = f"/_stcore/upload_file/{session}/file"
            assert client.put(address, files={"file": b"picture"}).status_code == 403
            client.get("/_stcore/host-config")
            client.get("/_stcore/health")
            token = client.cookies["_streamlit_xsrf"]
            sent = client.put(address, files={"file": b"picture"}, headers={"X-Xsrftoken": token})
            assert sent.status_code == 204


def test_every_response_has_security_headers(probe: Probe) -> None:
    with visitor(probe.screen.url) as client:
        sign_in(client, "viewer")
        page = client.get("/", headers={"Accept": "text/html"})
        picture = client.get(probe.media[0])
        component = client.get("/component/any/index.html")
    assert "Vestigo" in page.text
    assert "unsafe-inline" not in page.headers["content-security-policy"].partition("style-src")[0]
    for response in (page, picture):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "same-origin"
        assert response.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert component.headers["x-frame-options"] == "SAMEORIGIN"


def test_session_survives_a_restart_and_the_log_names_no_crop(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    (tmp_path / "ui.toml").write_text('[privacy]\nblur = "always"\n')
    port, options = free_port(), ("--config", str(tmp_path / "ui.toml"))
    with (
        serve_app(tmp_path / "store", tmp_path, program=PROGRAM, port=port, options=options) as screen,
        visitor(screen.url) as client,
    ):
        sign_in(client, "reviewer")
        client.get(f"/?crop={CROP}", headers={"Accept": "text/html"})
        cookie = cookie_of(client)
        assert b"user: reviewer reviewer " in looked_at(screen.url, cookie)[0]
    with serve_app(tmp_path / "store", tmp_path, program=PROGRAM, port=port, options=options) as screen:
        shown, _ = looked_at(screen.url, cookie)
        assert b"user: reviewer reviewer " in shown
        assert b"blur: always" in shown
    log = screen.log.read_text()
    assert CROP not in log
    assert len(log.splitlines()) == 2
    with Store.open(tmp_path / "store") as store:
        entries = [(entry.user, entry.action) for entry in store.audit.entries() if entry.action != "user"]
        assert entries == [("reviewer", "sign-in")]
