"""Sessions, who they belong to, and how guessing slows down."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from vestigo_models.errors import ConfigError
from vestigo_ui.web.auth import identity
from vestigo_ui.web.auth.identity import User, user_of
from vestigo_ui.web.auth.sessions import Sessions, provider_version
from vestigo_ui.web.auth.throttle import FORGOTTEN_S, FREE, LONGEST_S, MAX_ENTRIES, Throttle
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.settings import Settings

OIDC = {
    "issuer": "https://login.example.org",
    "client_id": "vestigo",
    "client_secret_file": "secret",
    "roles": {"police": "reviewer"},
}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def users(tmp_path: Path) -> Users:
    users = Users(tmp_path / "users.toml")
    users.add("anna", Role.REVIEWER, "long enough for it")
    return users


def began(sessions: Sessions, name: str = "anna") -> str:
    account = sessions.users.accounts()[name]
    return sessions.begin(name, account.role, "password", account.version)


def test_a_session_lasts_its_hours_and_a_restart(users: Users, clock: Clock) -> None:
    cookie = began(Sessions(users, Settings(), clock))
    later = Sessions(Users(users.path), Settings(), clock)
    session = later.of(cookie)
    assert session is not None
    assert (session.user, session.role) == ("anna", Role.REVIEWER)
    clock.now += 12 * 3600 - 1
    assert later.of(cookie) == session
    clock.now += 1
    assert later.of(cookie) is None
    assert not later.counts(session)


def test_the_key_is_made_once_and_for_nobody_else(users: Users, clock: Clock) -> None:
    first, second = Sessions(users, Settings(), clock), Sessions(users, Settings(), clock)
    assert first.key == second.key
    path = users.path.with_name("session.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("short")
    with pytest.raises(ConfigError, match="holds no key"):
        Sessions(users, Settings(), clock)


def test_another_key_knows_no_cookie_and_has_another_name(users: Users, clock: Clock) -> None:
    first = Sessions(users, Settings(), clock)
    cookie = began(first)
    users.path.with_name("session.key").unlink()
    second = Sessions(users, Settings(), clock)
    assert second.of(cookie) is None
    assert second.cookie != first.cookie


@pytest.mark.parametrize("cookie", [None, "", "x", "a.b", "a.b.c", "." * 50, "é"])
def test_what_is_no_cookie(users: Users, clock: Clock, cookie: str | None) -> None:
    assert Sessions(users, Settings(), clock).of(cookie) is None


def test_signing_out_counts_for_every_server_and_is_forgotten_once_it_may(users: Users, clock: Clock) -> None:
    sessions, other = Sessions(users, Settings(), clock), Sessions(Users(users.path), Settings(), clock)
    cookies = [began(sessions) for _ in range(3)]
    first = sessions.of(cookies[0])
    assert first is not None
    sessions.end(first)
    assert [other.of(cookie) is not None for cookie in cookies] == [False, True, True]
    clock.now += 13 * 3600
    cookie = began(sessions)
    last = sessions.of(cookie)
    assert last is not None
    sessions.end(last)
    assert other.of(cookie) is None
    assert len(users.path.with_name("sessions.ended").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["users.toml", "sessions.ended"])
def test_nobody_is_let_in_by_files_that_cannot_be_read(users: Users, clock: Clock, name: str) -> None:
    sessions = Sessions(users, Settings(), clock)
    cookie = began(sessions)
    path = users.path.with_name(name)
    path.write_text("damaged")
    path.chmod(0o600)
    assert sessions.of(cookie) is None


def test_a_providers_user_is_who_the_provider_says_while_it_is_configured_so(users: Users, clock: Clock) -> None:
    settings = Settings.model_validate({"oidc": OIDC})
    assert settings.oidc is not None
    sessions = Sessions(users, settings, clock)
    cookie = sessions.begin("oidc:otto", Role.REVIEWER, "oidc", provider_version(settings.oidc))
    assert sessions.of(cookie) is not None
    changed = Settings.model_validate({"oidc": OIDC | {"roles": {"police": "viewer"}}})
    assert Sessions(users, changed, clock).of(cookie) is None
    assert Sessions(users, Settings(), clock).of(cookie) is None


def test_the_script_asks_who_is_there(users: Users, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(users, Settings(), clock)
    monkeypatch.setattr(identity, "_sessions", None)
    cookie = began(sessions)
    headers = {"Cookie": f"other=1; {sessions.cookie}={cookie}"}
    assert user_of(headers) is None
    identity.use(sessions)
    session = sessions.of(cookie)
    assert session is not None
    assert user_of(headers) == User(name="anna", role=Role.REVIEWER, session=session.id)
    assert user_of({"cookie": headers["Cookie"]}) == user_of(headers)
    assert user_of({"x-vestigo-user": "anna", "x-vestigo-role": "admin"}) is None
    users.set_role("anna", Role.VIEWER)
    assert user_of(headers) is None


def test_guessing_waits_longer_each_time(clock: Clock) -> None:
    throttle = Throttle(clock)
    assert [throttle.attempt("anna", "a") for _ in range(FREE["both"])] == [0.0] * FREE["both"]
    waits = []
    for _ in range(9):
        assert throttle.attempt("anna", "a") == 0.0
        waits.append(throttle.attempt("anna", "a"))
        clock.now += waits[-1]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert waits[-1] == LONGEST_S


def test_many_attempts_at_once_win_nothing(clock: Clock) -> None:
    throttle = Throttle(clock)
    passed = sum(throttle.attempt("anna", "a") == 0.0 for _ in range(100))
    assert passed == FREE["both"] + 1


def test_an_address_that_tries_many_names_waits_and_others_do_not(clock: Clock) -> None:
    throttle = Throttle(clock)
    passed = sum(throttle.attempt(f"user{number}", "a") == 0.0 for number in range(100))
    assert passed == FREE["address"] + 1
    assert throttle.attempt("anna", "b") == 0.0


def test_a_name_that_many_addresses_try_waits(clock: Clock) -> None:
    throttle = Throttle(clock)
    passed = sum(throttle.attempt("anna", f"address{number}") == 0.0 for number in range(100))
    assert passed == FREE["name"] + 1
    assert throttle.attempt("otto", "address1") == 0.0


def test_success_and_time_forgive(clock: Clock) -> None:
    throttle = Throttle(clock)
    for _ in range(100):
        assert throttle.attempt("anna", "a") == 0.0
        throttle.succeeded("anna", "a")
    for _ in range(FREE["both"] + 1):
        throttle.attempt("anna", "a")
    assert throttle.attempt("anna", "a") > 0
    clock.now += FORGOTTEN_S + 1
    assert [throttle.attempt("anna", "a") for _ in range(FREE["both"])] == [0.0] * FREE["both"]


def test_memory_is_bounded_and_an_attacker_stays_remembered(clock: Clock) -> None:
    throttle = Throttle(clock)
    for number in range(2 * MAX_ENTRIES):
        throttle.attempt(f"name{number}", "attacker")
        clock.now += LONGEST_S
    assert len(throttle._entries) <= MAX_ENTRIES
    assert throttle._entries["address", "", "attacker"].count > MAX_ENTRIES
