"""Sessions as signed cookies, checked against the users file and a list of ended sessions.

Nothing is held in memory, so a session survives a restart of the server. It ends when it expires, at sign-out, and when
its user is removed or gets another password or role.
"""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.requests import cookie_parser

from vestigo_models.errors import ConfigError
from vestigo_ui.web.auth.users import Role, Users
from vestigo_ui.web.private_files import WatchedFile, locked, read_private, write_private
from vestigo_ui.web.settings import OidcSettings, Settings

Kind = Literal["password", "oidc"]
MAX_CASE_LENGTH = 200
"""Characters of a case number or an authorisation, as in the audit log."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One sign-in."""

    id: str
    user: str
    role: Role
    kind: Kind
    version: str  # of the account, or of the provider's settings, at sign-in
    expires: float  # epoch seconds


@dataclass(frozen=True, kw_only=True)
class SessionCase:
    """Case number and authorisation of a sign-in ("" for none); `expires` is its end in epoch seconds."""

    case: str = ""
    authority: str = ""
    expires: float = 0.0


class SessionCases:
    """The cases of all sign-ins, in a file for reloads and new tabs; methods raise ConfigError if it is unusable."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._file: WatchedFile[Mapping[str, SessionCase]] = WatchedFile(path, _parse_cases, {})
        self._clock = clock

    def find(self, session: str) -> SessionCase:
        """Return the case of a session."""
        return self._file.value().get(session, SessionCase())

    def put(self, session: str, case: SessionCase) -> None:
        """Set the case of a session, and forget those of sessions that have expired."""
        with locked(self._file.path):
            now = self._clock()
            cases = {name: kept for name, kept in self._file.value().items() if kept.expires > now} | {session: case}
            write_private(self._file.path, json.dumps({name: asdict(kept) for name, kept in cases.items()}))


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, users: Users, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.users = users
        self.seconds = settings.session.hours * 3600
        self.key = _key(users.path.with_name("session.key"))
        self.cookie = f"vestigo_{hashlib.sha256(self.key.encode()).hexdigest()[:8]}"
        """The name contains a digest of the key, because servers on other ports of a host share its cookies."""
        self._provider = None if settings.oidc is None else provider_version(settings.oidc)
        self._serializer = URLSafeSerializer(self.key, salt="session", signer_kwargs={"digest_method": hashlib.sha256})
        self._ended: WatchedFile[Mapping[str, float]]
        self._ended = WatchedFile(users.path.with_name("sessions.ended"), _parse_ended, {})
        self._clock = clock
        self.cases = SessionCases(users.path.with_name("sessions.cases"), clock)

    def begin(self, user: str, role: Role, kind: Kind, version: str) -> str:
        """Return the cookie value of a new session."""
        facts = {"i": secrets.token_hex(8), "u": user, "r": role, "k": kind, "v": version, "t": self._clock()}
        signed = self._serializer.dumps(facts)
        return signed if isinstance(signed, str) else signed.decode("ascii")

    def from_cookies(self, header: str) -> Session | None:
        """Return the valid session of a `Cookie` header, or None."""
        return self.find(cookie_parser(header).get(self.cookie))

    def find(self, cookie: str | None) -> Session | None:
        """Return the valid session of a cookie value, or None."""
        if not cookie:
            return None
        try:
            facts: dict[str, Any] = self._serializer.loads(cookie)
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
        return session if self.is_valid(session) else None

    def is_valid(self, session: Session) -> bool:
        """Return whether a session is valid. None is valid while one of the files cannot be read."""
        if self._clock() >= session.expires:
            return False
        try:
            if session.id in self._ended.value():
                return False
            if session.kind == "oidc":
                return session.version == self._provider
            account = self.users.accounts().get(session.user)
        except ConfigError as error:
            log.error("all sessions are refused: %s", error)
            return False
        return account is not None and (account.version, account.role) == (session.version, session.role)

    def end(self, session: Session) -> None:
        """End a session, copies of its cookie included; raise ConfigError if that cannot be written."""
        with locked(self._ended.path):
            now = self._clock()
            ended = {name: expires for name, expires in self._ended.value().items() if expires > now}
            ended[session.id] = session.expires
            write_private(self._ended.path, "".join(f"{name} {expires:.0f}\n" for name, expires in ended.items()))


def provider_version(oidc: OidcSettings) -> str:
    """Return a digest of the settings that decide roles. A change of it ends the sessions of the provider's users."""
    text = oidc.model_dump_json(include={"issuer", "client_id", "role_claim", "roles", "default_role"})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(path: Path) -> str:
    """Return the key that signs cookies. The first process that needs it creates the file."""
    if not path.exists():
        with locked(path):
            if not path.exists():
                write_private(path, secrets.token_hex(32))
    key = read_private(path).strip()
    if len(key) < 32:
        raise ConfigError(f"{path} holds no key; remove it to create a new one (all users must sign in again)")
    return key


def _parse_ended(path: Path) -> Mapping[str, float]:
    try:
        pairs = [line.split() for line in read_private(path).splitlines()]
        return {name: float(expires) for name, expires in pairs}
    except ValueError as error:
        raise ConfigError(f"{path} is damaged; remove it (ended sessions may become valid again)") from error


def _parse_cases(path: Path) -> Mapping[str, SessionCase]:
    try:
        return {name: SessionCase(**facts) for name, facts in json.loads(read_private(path)).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is damaged; remove it (users enter their case again)") from error
