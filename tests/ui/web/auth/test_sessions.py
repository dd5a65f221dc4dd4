"""Sessions, their users, and the limit of password attempts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from vestigo_models.errors import ConfigError
from vestigo_ui.web.auth import identity
from vestigo_ui.web.auth.identity import User, find_user
from vestigo_ui.web.auth.sessions import SessionCase, Sessions, provider_version
from vestigo_ui.web.auth.throttle import FORGET_AFTER_S, FREE_ATTEMPTS, MAX_ENTRIES, MAX_WAIT_S, Throttle
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


def begin(sessions: Sessions, name: str = "anna") -> str:
    account = sessions.users.accounts()[name]
    return sessions.begin(name, account.role, "password", account.version)


def test_session_survives_a_restart_until_it_expires(users: Users, clock: Clock) -> None:
    cookie = begin(Sessions(users, Settings(), clock))
    later = Sessions(Users(users.path), Settings(), clock)
    session = later.find(cookie)
    assert session is not None
    assert (session.user, session.role) == ("anna", Role.REVIEWER)
    clock.now += 12 * 3600 - 1
    assert later.find(cookie) == session
    clock.now += 1
    assert later.find(cookie) is None
    assert not later.is_valid(session)


def test_key_is_private_and_created_once(users: Users, clock: Clock) -> None:
    first, second = Sessions(users, Settings(), clock), Sessions(users, Settings(), clock)
    assert first.key == second.key
    path = users.path.with_name("session.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("short")
    with pytest.raises(ConfigError, match="holds no key"):
        Sessions(users, Settings(), clock)


def test_new_key_invalidates_cookies_and_renames_them(users: Users, clock: Clock) -> None:
    first = Sessions(users, Settings(), clock)
    cookie = begin(first)
    users.path.with_name("session.key").unlink()
    second = Sessions(users, Settings(), clock)
    assert second.find(cookie) is None
    assert second.cookie != first.cookie


@pytest.mark.parametrize("cookie", [None, "", "x", "a.b", "a.b.c", "." * 50, "é"])
def test_malformed_cookie_is_refused(users: Users, clock: Clock, cookie: str | None) -> None:
    assert Sessions(users, Settings(), clock).find(cookie) is None


def test_sign_out_applies_to_all_servers_until_the_session_expires(users: Users, clock: Clock) -> None:
    sessions, other = Sessions(users, Settings(), clock), Sessions(Users(users.path), Settings(), clock)
    cookies = [begin(sessions) for _ in range(3)]
    first = sessions.find(cookies[0])
    assert first is not None
    sessions.end(first)
    assert [other.find(cookie) is not None for cookie in cookies] == [False, True, True]
    clock.now += 13 * 3600
    cookie = begin(sessions)
    last = sessions.find(cookie)
    assert last is not None
    sessions.end(last)
    assert other.find(cookie) is None
    assert len(users.path.with_name("sessions.ended").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["users.toml", "sessions.ended"])
def test_damaged_file_invalidates_all_sessions(users: Users, clock: Clock, name: str) -> None:
    sessions = Sessions(users, Settings(), clock)
    cookie = begin(sessions)
    path = users.path.with_name(name)
    path.write_text("damaged")
    path.chmod(0o600)
    assert sessions.find(cookie) is None


def test_changed_provider_settings_end_sessions(users: Users, clock: Clock) -> None:
    settings = Settings.model_validate({"oidc": OIDC})
    assert settings.oidc is not None
    sessions = Sessions(users, settings, clock)
    cookie = sessions.begin("oidc:otto", Role.REVIEWER, "oidc", provider_version(settings.oidc))
    assert sessions.find(cookie) is not None
    changed = Settings.model_validate({"oidc": OIDC | {"roles": {"police": "viewer"}}})
    assert Sessions(users, changed, clock).find(cookie) is None
    assert Sessions(users, Settings(), clock).find(cookie) is None


def test_find_user_reads_the_cookie(users: Users, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(users, Settings(), clock)
    monkeypatch.setattr(identity, "_sessions", None)
    cookie = begin(sessions)
    headers = {"Cookie": f"other=1; {sessions.cookie}={cookie}"}
    assert find_user(headers) is None
    identity.use_sessions(sessions)
    session = sessions.find(cookie)
    assert session is not None
    user = User(name="anna", role=Role.REVIEWER, session=session.id, signed=session)
    assert find_user(headers) == user
    assert identity.is_valid(user)
    assert find_user({"cookie": headers["Cookie"]}) == find_user(headers)
    assert find_user({"x-vestigo-user": "anna", "x-vestigo-role": "admin"}) is None
    users.set_role("anna", Role.VIEWER)
    assert find_user(headers) is None
    assert not identity.is_valid(user)


def test_each_failure_waits_longer(clock: Clock) -> None:
    throttle = Throttle(clock)
    assert [throttle.attempt("anna", "a") for _ in range(FREE_ATTEMPTS["both"])] == [0.0] * FREE_ATTEMPTS["both"]
    waits = []
    for _ in range(9):
        assert throttle.attempt("anna", "a") == 0.0
        waits.append(throttle.attempt("anna", "a"))
        clock.now += waits[-1]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert waits[-1] == MAX_WAIT_S


def test_simultaneous_attempts_are_limited(clock: Clock) -> None:
    throttle = Throttle(clock)
    passed = sum(throttle.attempt("anna", "a") == 0.0 for _ in range(100))
    assert passed == FREE_ATTEMPTS["both"] + 1


def test_attempts_on_many_names_limit_one_address_only(clock: Clock) -> None:
    throttle = Throttle(clock)
    passed = sum(throttle.attempt(f"user{number}", "a") == 0.0 for number in range(100))
    assert passed == FREE_ATTEMPTS["address"] + 1
    assert throttle.attempt("anna", "b") == 0.0


def test_attempts_from_many_addresses_limit_the_name(clock: Clock) -> None:
    throttle = Throttle(clock)
    passed = sum(throttle.attempt("anna", f"address{number}") == 0.0 for number in range(100))
    assert passed == FREE_ATTEMPTS["name"] + 1
    assert throttle.attempt("otto", "address1") == 0.0


def test_success_and_time_reset_failures(clock: Clock) -> None:
    throttle = Throttle(clock)
    for _ in range(100):
        assert throttle.attempt("anna", "a") == 0.0
        throttle.record_success("anna", "a")
    for _ in range(FREE_ATTEMPTS["both"] + 1):
        throttle.attempt("anna", "a")
    assert throttle.attempt("anna", "a") > 0
    clock.now += FORGET_AFTER_S + 1
    assert [throttle.attempt("anna", "a") for _ in range(FREE_ATTEMPTS["both"])] == [0.0] * FREE_ATTEMPTS["both"]


def test_memory_is_bounded_and_keeps_active_addresses(clock: Clock) -> None:
    throttle = Throttle(clock)
    for number in range(2 * MAX_ENTRIES):
        throttle.attempt(f"name{number}", "attacker")
        clock.now += MAX_WAIT_S
    assert len(throttle._entries) <= MAX_ENTRIES
    assert throttle._entries["address", "", "attacker"].count > MAX_ENTRIES


def test_case_belongs_to_sign_in_and_survives_restart(users: Users, clock: Clock) -> None:
    sessions = Sessions(users, Settings(), clock)
    first, second = (sessions.find(begin(sessions)) for _ in range(2))
    assert first is not None
    assert second is not None
    sessions.cases.put(first.id, SessionCase(case="26-0815", authority="order 7", expires=first.expires))
    later = Sessions(Users(users.path), Settings(), clock)
    assert later.cases.find(first.id).case == "26-0815"
    assert later.cases.find(second.id) == SessionCase()
    file = users.path.with_name("sessions.cases")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    clock.now = first.expires + 1
    later.cases.put(second.id, SessionCase(case="x", expires=clock.now + 60))
    assert "26-0815" not in file.read_text()
    file.write_text("[]")
    with pytest.raises(ConfigError, match="enter their case again"):
        Sessions(users, Settings(), clock).cases.find(first.id)
