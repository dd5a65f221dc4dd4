"""The user of a request, as the app reads it at every rerun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.users import Role


@dataclass(frozen=True, kw_only=True)
class User:
    """A signed-in user; `session` is the id that audit entries carry."""

    name: str
    role: Role
    session: str

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
    return User(name=session.user, role=session.role, session=session.id) if session else None
