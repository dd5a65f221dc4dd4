"""Who may sign in with a password: a TOML file of names, roles and argon2id hashes.

The server looks at the file's identity before every answer and reads it again when that changed, so that a removal, a
new role or a new password counts at once.
"""

from __future__ import annotations

import json
import re
import secrets
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from vestigo_models.errors import ConfigError, UsageError
from vestigo_ui.web.private_files import Watched, locked, own_folder, read_private, write_private

MIN_PASSWORD = 10
MAX_PASSWORD = 1024
"""Characters; hashing takes time in proportion, so that a longer one would be an attack."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Role(StrEnum):
    """What a user may do; each role may do what those before it may."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def may(self, needed: Role | str) -> bool:
        """Say whether this role reaches as far as `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(Role(needed))


@dataclass(frozen=True, kw_only=True)
class Account:
    """One user of the file; `version` is another after every change, which ends the sessions of the old one."""

    role: Role
    password: str
    version: str


def users_path(named: Path | None) -> Path:
    """Return the users file: the named one, else the one in the folder of the screen's files."""
    return named or own_folder() / "users.toml"


class Users:
    """The users file.

    Raises (all methods):
        ConfigError: the file is open to others, or not what `vestigo ui user` writes.
    """

    def __init__(self, path: Path) -> None:
        from argon2 import PasswordHasher

        self.path = path
        self._hasher = PasswordHasher()
        self._nobody: str | None = None
        self._file: Watched[Mapping[str, Account]] = Watched(path, _parse, {})

    def accounts(self) -> Mapping[str, Account]:
        """Return the accounts by name; none where there is no file."""
        return self._file.value()

    def verify(self, name: str, password: str) -> Account | None:
        """Return the account that name and password belong to; an unknown name takes as long as a wrong password."""
        from argon2.exceptions import InvalidHashError, VerificationError

        account = self.accounts().get(name)
        if self._nobody is None:
            self._nobody = self._hasher.hash(secrets.token_hex())
        if len(password) > MAX_PASSWORD:
            return None
        try:
            self._hasher.verify(account.password if account else self._nobody, password)
        except (VerificationError, InvalidHashError):
            return None
        return account

    def add(self, name: str, role: Role, password: str) -> None:
        """Add a user.

        Raises:
            UsageError: the name is taken or none, or the password too short.
        """
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no user name: up to 64 letters, digits and . _ @ - after a letter or digit")
        account = Account(role=role, password=self._hash(password), version=_new_version())
        with self._changing() as accounts:
            if name in accounts:
                raise UsageError(f"{name} exists already; change it with `vestigo ui user role` or `... password`")
            accounts[name] = account

    def remove(self, name: str) -> None:
        """Remove a user, whose sessions end at once.

        Raises:
            UsageError: there is no such user.
        """
        with self._changing() as accounts:
            del accounts[self._known(name, accounts)]

    def set_role(self, name: str, role: Role) -> None:
        """Give a user another role; open sessions end at once.

        Raises:
            UsageError: there is no such user.
        """
        self._change(name, lambda account: replace(account, role=role))

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password; open sessions end at once.

        Raises:
            UsageError: there is no such user, or the password is too short.
        """
        hashed = self._hash(password)
        self._change(name, lambda account: replace(account, password=hashed))

    def _change(self, name: str, changed: Callable[[Account], Account]) -> None:
        with self._changing() as accounts:
            account = accounts[self._known(name, accounts)]
            accounts[name] = replace(changed(account), version=_new_version())

    def _known(self, name: str, accounts: Mapping[str, Account]) -> str:
        if name not in accounts:
            raise UsageError(f"{self.path} has no user {name}; `vestigo ui user list` shows who there is")
        return name

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Account]]:
        with locked(self.path):
            accounts = dict(self.accounts())
            yield accounts
            write_private(self.path, _toml(accounts))

    def _hash(self, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise UsageError(f"a password has at least {MIN_PASSWORD} characters (and at most {MAX_PASSWORD})")
        return self._hasher.hash(password)


def _new_version() -> str:
    return secrets.token_hex(8)


def _parse(path: Path) -> dict[str, Account]:
    try:
        entries = tomllib.loads(read_private(path)).get("users", {})
        return {name: _account(path, name, entry) for name, entry in entries.items()}
    except (tomllib.TOMLDecodeError, AttributeError) as error:
        raise ConfigError(f"{path} is not what `vestigo ui user` writes: {error}") from error


def _account(path: Path, name: str, entry: dict[str, Any]) -> Account:
    try:
        account = Account(role=Role(entry["role"]), password=entry["password"], version=entry["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: user {name}: role, password and version are needed ({error})") from error
    if not NAME.fullmatch(name) or not isinstance(account.password, str) or not isinstance(account.version, str):
        raise ConfigError(f"{path}: user {name} is not as `vestigo ui user add` writes one")
    return account


def _toml(accounts: Mapping[str, Account]) -> str:
    """All values are ASCII strings, which JSON and TOML write alike."""
    lines = ["# Who may sign in to `vestigo ui`; written by `vestigo ui user`.", ""]
    for name, account in sorted(accounts.items()):
        lines += [f"[users.{json.dumps(name)}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in asdict(account).items()]
        lines += [""]
    return "\n".join(lines)
