"""Users with passwords: a TOML file of names, roles and argon2id hashes.

The server reads the file again whenever it has changed, so a change takes effect at once.
"""

from __future__ import annotations

import json
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from vestigo.store.audit.records import login
from vestigo_models.errors import ConfigError, UsageError
from vestigo_ui.web.private_files import WatchedFile, config_folder, locked, read_private, write_private

MIN_PASSWORD = 10
MAX_PASSWORD = 1024
"""Characters. The limit bounds the time of hashing."""
UserChange = Literal["add", "remove", "role", "password"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Role(StrEnum):
    """Rights of a user; each role includes the rights of those before it."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def may(self, needed: Role | str) -> bool:
        """Return whether this role includes the rights of `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(Role(needed))


@dataclass(frozen=True, kw_only=True)
class Account:
    """One user of the file. Every change sets a new `version`, which ends the user's sessions."""

    role: Role
    password: str
    version: str


def users_path(named: Path | None) -> Path:
    """Return the path of the users file: `named`, else `users.toml` in the configuration folder."""
    return named or config_folder() / "users.toml"


class Users:
    """The users file. Every method raises ConfigError if the file is readable by others or damaged."""

    def __init__(self, path: Path) -> None:
        from argon2 import PasswordHasher

        self.path = path
        self._hasher = PasswordHasher()
        self._dummy_hash: str | None = None
        self._log_path = path.with_suffix(".log")
        self._file: WatchedFile[Mapping[str, Account]] = WatchedFile(path, _parse, {})

    def accounts(self) -> Mapping[str, Account]:
        """Return the accounts by name; an empty mapping if there is no file."""
        return self._file.value()

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account of a name and password, or None. An unknown name takes as long as a wrong password."""
        from argon2.exceptions import InvalidHashError, VerificationError

        account = self.accounts().get(name)
        if self._dummy_hash is None:
            self._dummy_hash = self._hasher.hash(secrets.token_hex())
        if len(password) > MAX_PASSWORD:
            return None
        try:
            self._hasher.verify(account.password if account else self._dummy_hash, password)
        except (VerificationError, InvalidHashError):
            return None
        return account

    def add(self, name: str, role: Role, password: str) -> None:
        """Add a user; raise UsageError if the name is taken or invalid, or the password too short."""
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a valid user name: use up to 64 letters, digits and . _ @ -, "
                "beginning with a letter or digit"
            )
        account = Account(role=role, password=self._hash(password), version=secrets.token_hex(8))
        with self._open_for_change("add", name, role) as accounts:
            if name in accounts:
                raise UsageError(f"{name} exists already; change it with `vestigo ui user role` or `... password`")
            accounts[name] = account

    def remove(self, name: str) -> None:
        """Remove a user and end the user's sessions. An unknown name is a UsageError, here and below."""
        with self._open_for_change("remove", name) as accounts:
            del accounts[self._require(name, accounts)]

    def set_role(self, name: str, role: Role) -> None:
        """Change a user's role and end the user's sessions."""
        self._change("role", name, role=role)

    def set_password(self, name: str, password: str) -> None:
        """Change a user's password and end the user's sessions. A short password is a UsageError."""
        self._change("password", name, password=self._hash(password))

    def changes(self) -> list[dict[str, str]]:
        """Return all changes of users: time, account of this computer, change, name and role; the oldest first."""
        try:
            return [json.loads(line) for line in read_private(self._log_path).splitlines()]
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise ConfigError(f"{self._log_path} is damaged ({error}); move it away to start another log") from error

    def _change(self, change: UserChange, name: str, **values: Any) -> None:
        with self._open_for_change(change, name, values.get("role")) as accounts:
            account = accounts[self._require(name, accounts)]
            accounts[name] = replace(account, **values, version=secrets.token_hex(8))

    def _require(self, name: str, accounts: Mapping[str, Account]) -> str:
        if name not in accounts:
            raise UsageError(f"{self.path} has no user {name}; `vestigo ui user list` lists all users")
        return name

    @contextmanager
    def _open_for_change(self, change: UserChange, name: str, role: Role | None = None) -> Iterator[dict[str, Account]]:
        """Write the accounts after the block; the change is logged before."""
        with locked(self.path):
            accounts = dict(self.accounts())
            yield accounts
            at = datetime.now(UTC).isoformat(timespec="microseconds")
            entry = {"at": at, "account": login(), "change": change, "name": name} | ({"role": role} if role else {})
            lines = [json.dumps(each) for each in (*self.changes(), entry)]
            write_private(self._log_path, "".join(f"{line}\n" for line in lines))
            write_private(self.path, _format_toml(accounts))

    def _hash(self, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise UsageError(f"a password must have at least {MIN_PASSWORD} characters and at most {MAX_PASSWORD}")
        return self._hasher.hash(password)


def _parse(path: Path) -> dict[str, Account]:
    try:
        entries = tomllib.loads(read_private(path)).get("users", {})
        return {name: _parse_account(path, name, entry) for name, entry in entries.items()}
    except (ValueError, RecursionError, AttributeError) as error:
        raise ConfigError(f"{path} is not a users file of `vestigo ui user`: {error}") from error


def _parse_account(path: Path, name: str, entry: dict[str, Any]) -> Account:
    try:
        account = Account(role=Role(entry["role"]), password=entry["password"], version=entry["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: user {name} needs role, password and version ({error})") from error
    if not NAME.fullmatch(name) or not isinstance(account.password, str) or not isinstance(account.version, str):
        raise ConfigError(f"{path}: user {name} is invalid; remove it and add it with `vestigo ui user add`")
    return account


def _format_toml(accounts: Mapping[str, Account]) -> str:
    """Return the file's text. All values are ASCII strings, which JSON and TOML write alike."""
    lines = ["# Users of `vestigo ui`; written by `vestigo ui user`.", ""]
    for name, account in sorted(accounts.items()):
        lines += [f"[users.{json.dumps(name)}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in asdict(account).items()]
        lines += [""]
    return "\n".join(lines)
