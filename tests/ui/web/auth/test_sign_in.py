"""Sign-in with a password and sign-out over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from vestigo_models.errors import StoreError
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.sign_in import WRONG, SignInEvent, local_path
from vestigo_ui.web.auth.throttle import FREE_ATTEMPTS
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.server.run import make_public_app
from vestigo_ui.web.settings import Settings

pytestmark = pytest.mark.slow

PASSWORD = "long enough for it"
TOKEN = re.compile(r'name="token" value="([^"]+)"')


class PublicApp:
    """The public paths in this process, with a list in place of the audit log."""

    def __init__(self, folder: Path) -> None:
        self.users = Users(folder / "users.toml")
        self.users.add("anna", Role.REVIEWER, PASSWORD)
        self.sessions = Sessions(self.users, Settings())
        self.events: list[SignInEvent] = []
        self.log_is_available = True
        self.client = TestClient(
            make_public_app(self.sessions, Settings(), self._record, encrypted=False), follow_redirects=False
        )

    def _record(self, event: SignInEvent) -> None:
        if not self.log_is_available:
            raise StoreError("the database is not available")
        self.events.append(event)

    def submit(self, name: str = "anna", password: str = PASSWORD, next_path: str = "/") -> httpx.Response:
        match = TOKEN.search(self.client.get("/sign-in").text)
        assert match is not None
        fields = {"token": match[1], "next": next_path, "name": name, "password": password}
        return self.client.post("/sign-in", data=fields)


@pytest.fixture
def public_app(tmp_path: Path) -> Iterator[PublicApp]:
    public_app = PublicApp(tmp_path)
    with public_app.client:
        yield public_app


def test_user_signs_in_and_out(public_app: PublicApp) -> None:
    response = public_app.submit(next_path="/find?page=2")
    assert (response.status_code, response.headers["location"]) == (303, "/find?page=2")
    cookie = next(
        value for value in response.headers.get_list("set-cookie") if value.startswith(public_app.sessions.cookie)
    )
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    session = public_app.sessions.find(public_app.client.cookies[public_app.sessions.cookie])
    assert session is not None
    assert (session.user, session.role) == ("anna", Role.REVIEWER)
    assert public_app.client.get("/sign-in?next=/models").headers["location"] == "/models"

    assert "signed in as anna" in public_app.client.get("/sign-out").text
    assert public_app.client.post("/sign-out").headers["location"] == "/sign-in"
    assert public_app.sessions.cookie not in public_app.client.cookies
    assert not public_app.sessions.is_valid(session)
    assert public_app.client.get("/sign-out").headers["location"] == "/sign-in"
    assert public_app.client.post("/sign-out").status_code == 303
    events = [(event.action, event.user) for event in public_app.events]
    assert events == [("sign-in", "anna"), ("sign-out", "anna")]
    assert public_app.events[0].details == {"address": "testclient", "by": "password"}


def test_cookie_is_secure_over_https(public_app: PublicApp) -> None:
    client = TestClient(public_app.client.app, base_url="https://testserver", follow_redirects=False)
    match = TOKEN.search(client.get("/sign-in").text)
    assert match is not None
    response = client.post("/sign-in", data={"token": match[1], "name": "anna", "password": PASSWORD})
    assert all("Secure" in value for value in response.headers.get_list("set-cookie") if "Max-Age=43200" in value)
    assert public_app.sessions.cookie in client.cookies


def test_refusal_does_not_reveal_whether_the_name_exists(public_app: PublicApp) -> None:
    pages = [
        public_app.submit("anna", "wrong password"),
        public_app.submit("unknown", PASSWORD),
        public_app.submit("x<y", "wrong"),
    ]
    assert [page.status_code for page in pages] == [401] * 3
    assert all(page.text.count('role="alert"') == 1 and WRONG in page.text for page in pages)
    assert pages[0].text.replace('value="anna"', "") == pages[1].text.replace('value="unknown"', "")
    assert "x&lt;y" in pages[2].text
    assert public_app.sessions.cookie not in public_app.client.cookies
    assert [(event.action, event.user) for event in public_app.events] == [
        ("sign-in refused", "anna"),
        ("sign-in refused", "unknown"),
        ("sign-in refused", "unknown"),
    ]
    assert "wrong" not in repr(public_app.events)


def test_repeated_failures_delay_the_correct_password(public_app: PublicApp) -> None:
    pages = [public_app.submit("anna", "wrong password") for _ in range(FREE_ATTEMPTS["both"] + 1)]
    assert {page.status_code for page in pages} == {401}
    slowed = public_app.submit("anna")
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) >= 1
    assert "try again in" in slowed.text
    assert public_app.sessions.cookie not in public_app.client.cookies
    assert len(public_app.events) == FREE_ATTEMPTS["both"] + 1
    assert public_app.submit("otto", "wrong password").status_code == 401


@pytest.mark.parametrize("token", ["", "forged", None], ids=["none", "forged", "of another browser"])
def test_form_is_valid_only_in_the_browser_that_requested_it(public_app: PublicApp, token: str | None) -> None:
    if token is None:
        match = TOKEN.search(TestClient(public_app.client.app).get("/sign-in").text)
        assert match is not None
        token = match[1]
    fields = {"token": token, "name": "anna", "password": PASSWORD}
    assert public_app.client.post("/sign-in", data=fields).status_code == 403
    public_app.client.get("/sign-in")
    assert public_app.client.post("/sign-in", data=fields).status_code == 403
    assert public_app.events == []


def test_malformed_form_is_refused(public_app: PublicApp) -> None:
    assert public_app.client.post("/sign-in", content=b"\xff" * 100).status_code == 403
    assert public_app.client.post("/sign-in", content=b"a" * 20_000).status_code == 413
    assert public_app.client.put("/sign-in").status_code == 405


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "evil.example",
        "",
        "/sign-out",
        "/" + "a" * 5000,
    ],
)
def test_next_never_leads_to_another_site(public_app: PublicApp, address: str) -> None:
    assert public_app.submit(next_path=address).headers["location"] == "/"
    assert local_path(address) == "/"


@pytest.mark.parametrize("path", ["/", "/find", "/find?crop=c0ffee&page=2", "/a%2F%2Fb?x=%2F%2Fevil"])
def test_next_accepts_pages_of_this_server(path: str) -> None:
    assert local_path(path) == path


def test_sign_in_requires_a_writable_audit_log(public_app: PublicApp, caplog: pytest.LogCaptureFixture) -> None:
    public_app.log_is_available = False
    page = public_app.submit()
    assert page.status_code == 503
    assert "not possible at the moment" in page.text
    assert "database" not in page.text
    assert public_app.sessions.cookie not in public_app.client.cookies
    assert "the database is not available" in caplog.text


def test_unreadable_users_file_is_reported_without_its_path(public_app: PublicApp) -> None:
    public_app.users.path.chmod(0o644)
    page = public_app.submit()
    assert page.status_code == 503
    assert str(public_app.users.path) not in page.text


def test_health_check(public_app: PublicApp) -> None:
    assert public_app.client.get("/healthz").text == "ok"
