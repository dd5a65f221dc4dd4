"""The user of a request, as the app reads it at every rerun."""

from collections.abc import Mapping
from dataclasses import dataclass

from vestigo_ui.web.auth.sessions import MAX_CASE_LENGTH, Session, SessionCase, Sessions
from vestigo_ui.web.auth.users import Role


@dataclass(frozen=True, kw_only=True)
class User:
    """A signed-in user; `session` is the id of the sign-in, `signed` its session, None in tests without a server."""

    name: str
    role: Role
    session: str
    signed: Session | None = None

    def may(self, needed: Role | str) -> bool:
        """Return whether the user's role includes the rights of `needed`."""
        return self.role.may(needed)


_sessions: Sessions | None = None


def use_sessions(sessions: Sessions) -> None:
    """Set the sessions of this process."""
    global _sessions
    _sessions = sessions


def find_user(headers: Mapping[str, str]) -> User | None:
    """Return the user of a request with these headers (`st.context.headers`), or None without a valid session.

    The cookie is checked at every call, because the headers of a websocket are as old as its handshake.
    """
    session = _sessions and _sessions.from_cookies(headers.get("cookie") or headers.get("Cookie") or "")
    return User(name=session.user, role=session.role, session=session.id, signed=session) if session else None


def is_valid(user: User) -> bool:
    """Return whether the sign-in of a user is still valid: not ended, and with the same account and role."""
    return user.signed is None or _sessions is None or _sessions.is_valid(user.signed)


def read_case(user: User) -> SessionCase | None:
    """Return the case of a user's sign-in; None without a server, as in tests."""
    return None if user.signed is None or _sessions is None else _sessions.cases.find(user.session)


def write_case(user: User, case: str, authority: str) -> None:
    """Set the case of a user's sign-in, for all its tabs."""
    if user.signed is not None and _sessions is not None:
        case, authority = case[:MAX_CASE_LENGTH], authority[:MAX_CASE_LENGTH]
        facts = SessionCase(case=case, authority=authority, expires=user.signed.expires)
        _sessions.cases.put(user.session, facts)
