"""Signing in through an OpenID provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from tests.support.openid_provider import CLIENT, SECRET, Provider, provider
from vestigo_models.errors import ConfigError
from vestigo_ui.web.auth.events import Event
from vestigo_ui.web.auth.oidc import role_of, user_name
from vestigo_ui.web.auth.sessions import Session, Sessions
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.server.run import entrance
from vestigo_ui.web.settings import OidcSettings, Settings


class Door:
    """The open paths with a provider configured."""

    def __init__(self, folder: Path, running: Provider, **changed: object) -> None:
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        oidc = {
            "issuer": running.url,
            "client_id": CLIENT,
            "client_secret_file": folder / "secret",
            "roles": {"police": "reviewer", "heads": "admin"},
        }
        self.provider = running
        settings = Settings.model_validate({"oidc": oidc | changed})
        self.sessions = Sessions(Users(folder / "users.toml"), settings)
        self.events: list[Event] = []
        app = entrance(self.sessions, settings, self.events.append, encrypted=False)
        self.client = TestClient(app, follow_redirects=False)

    def walk(self, following: str = "/find", back: Callable[[str], str] = str) -> httpx.Response:
        """Go to the provider, sign in there, and come back; `back` may change the address on the way."""
        start = self.client.get("/oidc/start", params={"next": following})
        assert start.status_code == 302
        return self.client.get(back(self.provider.authorize(start.headers["location"])))

    def session(self) -> Session | None:
        return self.sessions.of(self.client.cookies.get(self.sessions.cookie))


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest.fixture
def door(tmp_path: Path, running: Provider) -> Door:
    running.__dict__.update(
        claims={"sub": "7", "preferred_username": "anna", "groups": ["police"]},
        wrong_nonce=False,
        wrong_key=False,
        wrong_audience=False,
        issuer=None,
    )
    return Door(tmp_path, running)


def test_a_person_signs_in(door: Door) -> None:
    page = door.client.get("/sign-in?next=/models").text
    assert "/oidc/start?next=%2Fmodels" in page
    assert "password" not in page
    answer = door.walk()
    assert (answer.status_code, answer.headers["location"]) == (303, "/find")
    session = door.session()
    assert session is not None
    assert (session.user, session.role, session.kind) == ("oidc:anna", Role.REVIEWER, "oidc")
    assert [(event.action, event.user, event.details["subject"]) for event in door.events] == [
        ("sign-in", "oidc:anna", "7")
    ]


def test_users_of_the_file_may_sign_in_beside(door: Door) -> None:
    door.sessions.users.add("otto", Role.ADMIN, "long enough for it")
    page = door.client.get("/sign-in").text
    assert "/oidc/start" in page
    assert 'name="password"' in page


def test_who_has_no_role_is_refused(door: Door) -> None:
    door.provider.claims = {"sub": "8", "email": "eve@example.org", "groups": ["press"]}
    page = door.walk()
    assert page.status_code == 403
    assert "no access" in page.text
    assert door.session() is None
    assert [(event.action, event.user) for event in door.events] == [("sign-in refused", "oidc:eve@example.org")]


@pytest.mark.parametrize("fault", ["wrong_nonce", "wrong_key", "wrong_audience"])
def test_a_token_that_is_not_for_this_sign_in_is_refused(door: Door, fault: str) -> None:
    setattr(door.provider, fault, True)
    assert door.walk().status_code == 401
    assert door.session() is None
    assert [(event.action, event.user) for event in door.events] == [("sign-in refused", "unknown")]


def test_another_issuer_is_refused(door: Door) -> None:
    door.provider.issuer = "https://evil.example"
    assert door.walk().status_code == 401
    assert door.session() is None


@pytest.mark.parametrize(
    "back",
    [
        lambda address: address.replace("state=", "state=x"),
        lambda address: address.replace("code=", "code=x"),
        lambda address: address.partition("?")[0],
        lambda address: address.partition("?")[0] + "?error=access_denied&state=x",
    ],
    ids=["state", "code", "bare", "denied"],
)
def test_answers_that_fit_no_question_are_refused(door: Door, back: Callable[[str], str]) -> None:
    assert door.walk(back=back).status_code == 401
    assert door.session() is None


def test_an_answer_to_another_browser_is_refused(door: Door) -> None:
    start = door.client.get("/oidc/start")
    address = door.provider.authorize(start.headers["location"])
    other = TestClient(door.client.app, follow_redirects=False)
    assert other.get(address).status_code == 401
    assert door.client.get(address).status_code == 303
    assert door.client.get(address).status_code == 401


def test_next_never_leads_elsewhere(door: Door) -> None:
    assert door.walk(following="//evil.example").headers["location"] == "/"


def test_a_provider_that_does_not_answer(tmp_path: Path, running: Provider) -> None:
    door = Door(tmp_path, running, issuer="http://127.0.0.1:9")
    page = door.client.get("/oidc/start")
    assert page.status_code == 502
    assert "try again" in page.text


def test_a_secret_that_is_not_there_is_said_at_the_start(tmp_path: Path, running: Provider) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        Door(tmp_path, running, client_secret_file=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["police", "heads"]}, Role.ADMIN),
        ({"groups": "police"}, Role.REVIEWER),
        ({"groups": ["press"]}, Role.VIEWER),
        ({"groups": [["police"], 3, None]}, Role.VIEWER),
        ({"groups": {"police": True}}, Role.VIEWER),
        ({}, Role.VIEWER),
    ],
)
def test_the_highest_role_counts(tmp_path: Path, claims: dict[str, object], role: Role) -> None:
    settings = OidcSettings.model_validate(
        {
            "issuer": "https://login.example.org",
            "client_id": "x",
            "client_secret_file": tmp_path,
            "roles": {"police": "reviewer", "heads": "admin"},
            "default_role": "viewer",
        }
    )
    assert role_of(claims, settings) is role


def test_names_of_a_provider_are_told_from_those_of_the_file() -> None:
    assert user_name({"sub": "7", "email": "a@b.c"}) == "oidc:a@b.c"
    assert user_name({"sub": "7", "preferred_username": "a\r\nb:c"}) == "oidc:a__b_c"
