"""Signing in with a password and signing out, at the level of HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from vestigo_models.errors import StoreError
from vestigo_ui.web.auth.events import Event
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.sign_in import WRONG, local_path
from vestigo_ui.web.auth.throttle import FREE
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.server.run import entrance
from vestigo_ui.web.settings import Settings

PASSWORD = "long enough for it"
TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Door:
    """The open paths in this process, with what they told the audit log."""

    def __init__(self, folder: Path) -> None:
        self.users = Users(folder / "users.toml")
        self.users.add("anna", Role.REVIEWER, PASSWORD)
        self.sessions = Sessions(self.users, Settings())
        self.events: list[Event] = []
        self.log_is_there = True
        self.client = TestClient(
            entrance(self.sessions, Settings(), self._tell, encrypted=False), follow_redirects=False
        )

    def _tell(self, event: Event) -> None:
        if not self.log_is_there:
            raise StoreError("the database has gone")
        self.events.append(event)

    def submit(self, name: str = "anna", password: str = PASSWORD, following: str = "/") -> httpx.Response:
        found = TOKEN.search(self.client.get("/sign-in").text)
        assert found is not None
        fields = {"token": found[1], "next": following, "name": name, "password": password}
        return self.client.post("/sign-in", data=fields)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    with door.client:
        yield door


def test_a_person_signs_in_and_out(door: Door) -> None:
    answer = door.submit(following="/find?page=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/find?page=2")
    cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith(door.sessions.cookie))
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    session = door.sessions.of(door.client.cookies[door.sessions.cookie])
    assert session is not None
    assert (session.user, session.role) == ("anna", Role.REVIEWER)
    assert door.client.get("/sign-in?next=/models").headers["location"] == "/models"

    assert "signed in as anna" in door.client.get("/sign-out").text
    assert door.client.post("/sign-out").headers["location"] == "/sign-in"
    assert door.sessions.cookie not in door.client.cookies
    assert not door.sessions.counts(session)
    assert door.client.get("/sign-out").headers["location"] == "/sign-in"
    assert door.client.post("/sign-out").status_code == 303
    told = [(event.action, event.user) for event in door.events]
    assert told == [("sign-in", "anna"), ("sign-out", "anna")]
    assert door.events[0].details == {"address": "testclient", "by": "password"}


def test_over_https_the_cookie_stays_there(door: Door) -> None:
    client = TestClient(door.client.app, base_url="https://testserver", follow_redirects=False)
    found = TOKEN.search(client.get("/sign-in").text)
    assert found is not None
    answer = client.post("/sign-in", data={"token": found[1], "name": "anna", "password": PASSWORD})
    assert all("Secure" in value for value in answer.headers.get_list("set-cookie") if "Max-Age=43200" in value)
    assert door.sessions.cookie in client.cookies


def test_a_refusal_says_the_same_of_names_and_passwords(door: Door) -> None:
    pages = [door.submit("anna", "wrong password"), door.submit("nobody", PASSWORD), door.submit("x<y", "wrong")]
    assert [page.status_code for page in pages] == [401] * 3
    assert all(page.text.count('role="alert"') == 1 and WRONG in page.text for page in pages)
    assert pages[0].text.replace('value="anna"', "") == pages[1].text.replace('value="nobody"', "")
    assert "x&lt;y" in pages[2].text
    assert door.sessions.cookie not in door.client.cookies
    assert [(event.action, event.user) for event in door.events] == [
        ("sign-in refused", "anna"),
        ("sign-in refused", "unknown"),
        ("sign-in refused", "unknown"),
    ]
    assert "wrong" not in repr(door.events)


def test_guessing_slows_down_and_then_even_the_right_password_waits(door: Door) -> None:
    pages = [door.submit("anna", "wrong password") for _ in range(FREE["both"] + 1)]
    assert {page.status_code for page in pages} == {401}
    slowed = door.submit("anna")
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) >= 1
    assert "try again in" in slowed.text
    assert door.sessions.cookie not in door.client.cookies
    assert len(door.events) == FREE["both"] + 1
    assert door.submit("otto", "wrong password").status_code == 401


@pytest.mark.parametrize("token", ["", "forged", None], ids=["none", "forged", "of another browser"])
def test_a_form_is_good_in_the_browser_that_asked_for_it(door: Door, token: str | None) -> None:
    if token is None:
        found = TOKEN.search(TestClient(door.client.app).get("/sign-in").text)
        assert found is not None
        token = found[1]
    fields = {"token": token, "name": "anna", "password": PASSWORD}
    assert door.client.post("/sign-in", data=fields).status_code == 403
    door.client.get("/sign-in")
    assert door.client.post("/sign-in", data=fields).status_code == 403
    assert door.events == []


def test_a_form_that_is_no_form(door: Door) -> None:
    assert door.client.post("/sign-in", content=b"\xff" * 100).status_code == 403
    assert door.client.post("/sign-in", content=b"a" * 20_000).status_code == 413
    assert door.client.put("/sign-in").status_code == 405


@pytest.mark.parametrize(
    "elsewhere",
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
def test_next_never_leads_elsewhere(door: Door, elsewhere: str) -> None:
    assert door.submit(following=elsewhere).headers["location"] == "/"
    assert local_path(elsewhere) == "/"


@pytest.mark.parametrize("path", ["/", "/find", "/find?crop=c0ffee&page=2", "/a%2F%2Fb?x=%2F%2Fevil"])
def test_next_leads_to_the_pages_of_this_server(path: str) -> None:
    assert local_path(path) == path


def test_nobody_signs_in_past_the_audit_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    door.log_is_there = False
    page = door.submit()
    assert page.status_code == 503
    assert "not possible at the moment" in page.text
    assert "database" not in page.text
    assert door.sessions.cookie not in door.client.cookies
    assert "the database has gone" in caplog.text


def test_a_users_file_that_cannot_be_read_is_said_without_its_path(door: Door) -> None:
    door.users.path.chmod(0o644)
    page = door.submit()
    assert page.status_code == 503
    assert str(door.users.path) not in page.text


def test_a_sign_of_life(door: Door) -> None:
    assert door.client.get("/healthz").text == "ok"
