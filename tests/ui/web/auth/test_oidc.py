"""Sign-in through an OpenID provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from tests.support.openid_provider import CLIENT, SECRET, Provider, provider
from vestigo_models.errors import ConfigError
from vestigo_ui.web.auth.oidc import find_role, user_name
from vestigo_ui.web.auth.sessions import Session, Sessions
from vestigo_ui.web.auth.sign_in import SignInEvent
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.server.run import make_public_app
from vestigo_ui.web.settings import OidcSettings, Settings


class PublicApp:
    """The public paths with a configured provider."""

    def __init__(self, folder: Path, running: Provider, **changes: object) -> None:
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        oidc = {
            "issuer": running.url,
            "client_id": CLIENT,
            "client_secret_file": folder / "secret",
            "roles": {"police": "reviewer", "heads": "admin"},
        }
        self.provider = running
        settings = Settings.model_validate({"oidc": oidc | changes})
        self.sessions = Sessions(Users(folder / "users.toml"), settings)
        self.events: list[SignInEvent] = []
        app = make_public_app(self.sessions, settings, self.events.append, encrypted=False)
        self.client = TestClient(app, follow_redirects=False)

    def walk(self, next_path: str = "/find", back: Callable[[str], str] = str) -> httpx.Response:
        """Sign in at the provider and return; `back` may change the callback address."""
        start = self.client.get("/oidc/start", params={"next": next_path})
        assert start.status_code == 302
        return self.client.get(back(self.provider.authorize(start.headers["location"])))

    def session(self) -> Session | None:
        return self.sessions.find(self.client.cookies.get(self.sessions.cookie))


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest.fixture
def public_app(tmp_path: Path, running: Provider) -> PublicApp:
    running.__dict__.update(
        claims={"sub": "7", "preferred_username": "anna", "groups": ["police"]},
        wrong_nonce=False,
        wrong_key=False,
        wrong_audience=False,
        issuer=None,
    )
    return PublicApp(tmp_path, running)


def test_user_signs_in(public_app: PublicApp) -> None:
    page = public_app.client.get("/sign-in?next=/models").text
    assert "/oidc/start?next=%2Fmodels" in page
    assert "password" not in page
    response = public_app.walk()
    assert (response.status_code, response.headers["location"]) == (303, "/find")
    session = public_app.session()
    assert session is not None
    assert (session.user, session.role, session.kind) == ("oidc:anna", Role.REVIEWER, "oidc")
    assert [(event.action, event.user, event.details["subject"]) for event in public_app.events] == [
        ("sign-in", "oidc:anna", "7")
    ]


def test_users_of_the_file_can_also_sign_in(public_app: PublicApp) -> None:
    public_app.sessions.users.add("otto", Role.ADMIN, "long enough for it")
    page = public_app.client.get("/sign-in").text
    assert "/oidc/start" in page
    assert 'name="password"' in page


def test_user_without_a_role_is_refused(public_app: PublicApp) -> None:
    public_app.provider.claims = {"sub": "8", "email": "eve@example.org", "groups": ["press"]}
    page = public_app.walk()
    assert page.status_code == 403
    assert "no access" in page.text
    assert public_app.session() is None
    assert [(event.action, event.user) for event in public_app.events] == [("sign-in refused", "oidc:eve@example.org")]


@pytest.mark.parametrize("fault", ["wrong_nonce", "wrong_key", "wrong_audience"])
def test_invalid_token_is_refused(public_app: PublicApp, fault: str) -> None:
    setattr(public_app.provider, fault, True)
    assert public_app.walk().status_code == 401
    assert public_app.session() is None
    assert [(event.action, event.user) for event in public_app.events] == [("sign-in refused", "unknown")]


def test_other_issuer_is_refused(public_app: PublicApp) -> None:
    public_app.provider.issuer = "https://evil.example"
    assert public_app.walk().status_code == 401
    assert public_app.session() is None


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
def test_response_without_a_matching_request_is_refused(public_app: PublicApp, back: Callable[[str], str]) -> None:
    assert public_app.walk(back=back).status_code == 401
    assert public_app.session() is None


def test_response_to_another_browser_is_refused(public_app: PublicApp) -> None:
    start = public_app.client.get("/oidc/start")
    address = public_app.provider.authorize(start.headers["location"])
    other = TestClient(public_app.client.app, follow_redirects=False)
    assert other.get(address).status_code == 401
    assert public_app.client.get(address).status_code == 303
    assert public_app.client.get(address).status_code == 401


def test_next_never_leads_to_another_site(public_app: PublicApp) -> None:
    assert public_app.walk(next_path="//evil.example").headers["location"] == "/"


def test_unreachable_provider_is_reported(tmp_path: Path, running: Provider) -> None:
    public_app = PublicApp(tmp_path, running, issuer="http://127.0.0.1:9")
    page = public_app.client.get("/oidc/start")
    assert page.status_code == 502
    assert "try again" in page.text


def test_missing_secret_is_reported_at_start(tmp_path: Path, running: Provider) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        PublicApp(tmp_path, running, client_secret_file=tmp_path / "nowhere")


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
def test_highest_role_applies(tmp_path: Path, claims: dict[str, object], role: Role) -> None:
    settings = OidcSettings.model_validate(
        {
            "issuer": "https://login.example.org",
            "client_id": "x",
            "client_secret_file": tmp_path,
            "roles": {"police": "reviewer", "heads": "admin"},
            "default_role": "viewer",
        }
    )
    assert find_role(claims, settings) is role


def test_user_names_of_a_provider_have_a_prefix() -> None:
    assert user_name({"sub": "7", "email": "a@b.c"}) == "oidc:a@b.c"
    assert user_name({"sub": "7", "preferred_username": "a\r\nb:c"}) == "oidc:a__b_c"
