"""The users file and the commands that write it."""

from __future__ import annotations

import io
import json
import stat
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from vestigo_models.errors import ConfigError, UsageError
from vestigo_ui.cli.main import run
from vestigo_ui.web.auth.users import Role, Users, users_path

PASSWORD = "long enough for it"


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "folder" / "users.toml")


def test_each_role_includes_the_rights_of_lower_roles() -> None:
    assert [[role.may(needed) for needed in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    assert Role.ADMIN.may("viewer")


def test_users_are_stored_hashed_in_a_private_file(users: Users) -> None:
    users.add("anna@example.org", Role.REVIEWER, PASSWORD)
    text = users.path.read_text()
    assert PASSWORD not in text
    assert tomllib.loads(text)["users"]["anna@example.org"]["password"].startswith("$argon2id$")
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(users.path.parent.stat().st_mode) == 0o700
    account = users.verify("anna@example.org", PASSWORD)
    assert account is not None
    assert account.role is Role.REVIEWER


@pytest.mark.parametrize(
    ("name", "password"), [("anna", "another password"), ("unknown", PASSWORD), ("anna", "x" * 5000)]
)
def test_wrong_name_or_password_is_refused(users: Users, name: str, password: str) -> None:
    users.add("anna", Role.VIEWER, PASSWORD)
    assert users.verify(name, password) is None


def test_unknown_name_takes_the_time_of_a_hash(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    users.add("anna", Role.VIEWER, PASSWORD)
    hashed = []

    class Counting:
        def hash(self, password: str) -> str:
            return "dummy hash"

        def verify(self, against: str, password: str) -> bool:
            hashed.append(against)
            return True

    monkeypatch.setattr(users, "_hasher", Counting())
    assert users.verify("unknown", PASSWORD) is None
    assert hashed == ["dummy hash"]


@pytest.mark.parametrize("change", ["role", "password", "again"])
def test_every_change_sets_a_new_version(users: Users, change: str) -> None:
    users.add("anna", Role.VIEWER, PASSWORD)
    other = Users(users.path)
    before = other.accounts()["anna"].version
    if change == "role":
        users.set_role("anna", Role.ADMIN)
    elif change == "password":
        users.set_password("anna", "quite another one")
        assert other.verify("anna", PASSWORD) is None
    else:
        users.remove("anna")
        assert other.accounts() == {}
        users.add("anna", Role.VIEWER, PASSWORD)
    assert other.accounts()["anna"].version != before


def test_simultaneous_changes_are_all_saved(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Users, "_hash", lambda self, password: f"hash of {password}")
    names = [f"user{number}" for number in range(12)]
    threads = [threading.Thread(target=Users(users.path).add, args=(name, Role.VIEWER, PASSWORD)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(users.accounts()) == sorted(names)


@pytest.mark.parametrize("name", ["", "-anna", "an na", "a" * 65, "anna\n", "oidc:anna", "ännä"])
def test_invalid_user_name_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid user name"):
        users.add(name, Role.VIEWER, PASSWORD)


def test_impossible_changes_are_refused(users: Users) -> None:
    users.add("anna", Role.VIEWER, PASSWORD)
    with pytest.raises(UsageError, match="exists already"):
        users.add("anna", Role.ADMIN, PASSWORD)
    with pytest.raises(UsageError, match="has no user otto"):
        users.remove("otto")
    with pytest.raises(UsageError, match="has no user otto"):
        users.set_role("otto", Role.ADMIN)
    with pytest.raises(UsageError, match="at least 10"):
        users.set_password("anna", "too short")


def test_file_accessible_to_others_is_refused(users: Users) -> None:
    users.add("anna", Role.VIEWER, PASSWORD)
    users.path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        users.accounts()


@pytest.mark.parametrize(
    "text",
    ["users = 3", "no toml", '[users.anna]\nrole = "king"', '[users.anna]\nrole = "admin"\npassword = 1\nversion = 2'],
)
def test_damaged_file_is_refused(users: Users, text: str) -> None:
    users.path.parent.mkdir()
    users.path.write_text(text)
    users.path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"users\.toml"):
        users.accounts()


def test_users_path_follows_the_xdg_convention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert users_path(None) == tmp_path / "vestigo" / "users.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert users_path(None) == Path.home() / ".config" / "vestigo" / "users.toml"
    assert users_path(tmp_path / "mine") == tmp_path / "mine"


def cli(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: str = "") -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    return run(["ui", "user", *arguments])


def test_user_commands_change_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VESTIGO_USERS", str(tmp_path / "users.toml"))
    users = Users(tmp_path / "users.toml")
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nnot this line\n")

    assert cli(monkeypatch, "add", "anna", "--role", "viewer", "--password-file", str(file)) == 0
    assert cli(monkeypatch, "add", "otto", "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\r\n") == 0
    assert users.verify("anna", PASSWORD)
    assert users.verify("otto", PASSWORD)
    assert cli(monkeypatch, "role", "anna", "reviewer") == 0
    assert cli(monkeypatch, "password", "anna", "--password-stdin", stdin="quite another one") == 0
    assert users.verify("anna", "quite another one")
    capsys.readouterr()
    assert cli(monkeypatch, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed == {"users": [{"name": "anna", "role": "reviewer"}, {"name": "otto", "role": "admin"}]}
    assert cli(monkeypatch, "remove", "otto") == 0
    assert cli(monkeypatch, "list") == 0
    assert "otto" not in capsys.readouterr().out


def test_password_prompt_is_hidden_and_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    prompt_options: dict[str, object] = {}

    def prompt(text: str, **options: object) -> str:
        prompt_options.update(options)
        return PASSWORD

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    assert run(["ui", "user", "add", "anna", "--role", "viewer", "--users", str(tmp_path / "users.toml")]) == 0
    assert prompt_options["hide_input"]
    assert prompt_options["confirmation_prompt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "anna", "--role", "viewer"), "no terminal"),
        (("add", "anna", "--role", "viewer", "--password-stdin"), "at least 10 characters"),
        (("add", "anna", "--role", "viewer", "--password-stdin", "--password-file", "x"), "exclude each other"),
        (("add", "anna", "--role", "viewer", "--password-file", "nowhere"), "nowhere cannot be read"),
        (("add", "anna", "--role", "king", "--password-stdin"), "king"),
        (("password", "otto", "--password-stdin"), "has no user otto"),
        (("remove", "otto"), "has no user otto"),
    ],
)
def test_user_error_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setenv("VESTIGO_USERS", str(tmp_path / "users.toml"))
    assert cli(monkeypatch, *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
