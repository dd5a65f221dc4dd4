"""Sessions: a signed cookie tells who signed in; the files beside it tell whether that still counts.

Nothing about a session is kept in memory, so that one survives a restart of the server. It ends after some hours, on
signing out, and as soon as its user's password or role changes or the user is removed.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from itsdangerous import BadSignature, URLSafeSerializer

from vestigo_models.errors import ConfigError
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.private_files import Watched, locked, read_private, write_private
from vestigo_ui.web.settings import OidcSettings, Settings

Kind = Literal["password", "oidc"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One sign-in; `version` is the account's at that time, or the provider's settings'; `expires` in epoch seconds."""

    id: str
    user: str
    role: Role
    kind: Kind
    version: str
    expires: float


class Sessions:
    """Begins sessions, finds the one of a cookie, and ends them."""

    def __init__(self, users: Users, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.users = users
        self.seconds = settings.session.hours * 3600
        self.key = _key(users.path.with_name("session.key"))
        self.cookie = f"vestigo_{hashlib.sha256(self.key.encode()).hexdigest()[:8]}"
        """Servers with other keys on the same host, which cookies do not tell apart by port, have other names."""
        self._provider = None if settings.oidc is None else provider_version(settings.oidc)
        self._signed = URLSafeSerializer(self.key, salt="session", signer_kwargs={"digest_method": hashlib.sha256})
        self._ended: Watched[Mapping[str, float]] = Watched(users.path.with_name("sessions.ended"), _parse_ended, {})
        self._clock = clock

    def begin(self, user: str, role: Role, kind: Kind, version: str) -> str:
        """Return the cookie's value for somebody who has just signed in."""
        facts = {"i": secrets.token_hex(8), "u": user, "r": role, "k": kind, "v": version, "t": self._clock()}
        signed = self._signed.dumps(facts)
        return signed if isinstance(signed, str) else signed.decode("ascii")

    def of(self, cookie: str | None) -> Session | None:
        """Return the session that a cookie's value stands for, while it counts."""
        if not cookie:
            return None
        try:
            facts: dict[str, Any] = self._signed.loads(cookie)
            session = Session(
                id=facts["i"],
                user=facts["u"],
                role=Role(facts["r"]),
                kind=facts["k"],
                version=facts["v"],
                expires=facts["t"] + self.seconds,
            )
        except (BadSignature, KeyError, TypeError, ValueError):
            return None
        return session if self.counts(session) else None

    def counts(self, session: Session) -> bool:
        """Say whether a session still counts; not while a file that would tell cannot be read."""
        if self._clock() >= session.expires:
            return False
        try:
            if session.id in self._ended.value():
                return False
            if session.kind == "oidc":
                return session.version == self._provider
            account = self.users.accounts().get(session.user)
        except ConfigError as error:
            log.error("nobody is let in: %s", error)
            return False
        return account is not None and (account.version, account.role) == (session.version, session.role)

    def end(self, session: Session) -> None:
        """End a session wherever its cookie may have been copied to.

        Raises:
            ConfigError: the list of ended sessions cannot be written.
        """
        with locked(self._ended.path):
            now = self._clock()
            ended = {name: expires for name, expires in self._ended.value().items() if expires > now}
            ended[session.id] = session.expires
            write_private(self._ended.path, "".join(f"{name} {expires:.0f}\n" for name, expires in ended.items()))


def provider_version(oidc: OidcSettings) -> str:
    """Return what ends the sessions of a provider's users when it changes: who vouches, and for which roles."""
    told = oidc.model_dump_json(include={"issuer", "client_id", "role_claim", "roles", "default_role"})
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _key(path: Path) -> str:
    """Return the key that signs cookies, made on first use; of two processes that make one, the first wins."""
    try:
        key = read_private(path).strip()
    except FileNotFoundError:
        with suppress(FileExistsError):
            write_private(path, secrets.token_hex(32), replace=False)
        key = read_private(path).strip()
    if len(key) < 32:
        raise ConfigError(f"{path} holds no key; remove it, and a new one is made (everybody signs in again)")
    return key


def _parse_ended(path: Path) -> Mapping[str, float]:
    try:
        pairs = [line.split() for line in read_private(path).splitlines()]
        return {name: float(expires) for name, expires in pairs}
    except ValueError as error:
        raise ConfigError(f"{path} is damaged; remove it (sessions that were signed out may come back)") from error
