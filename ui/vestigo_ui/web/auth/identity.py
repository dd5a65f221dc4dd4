"""Who is looking at a page: what the script of the app asks at every rerun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import cookie_parser

from vestigo_ui.web.auth.sessions import Session, Sessions
from vestigo_ui.web.auth.users import Role

USER, ROLE, SESSION = "x-vestigo-user", "x-vestigo-role", "x-vestigo-session"
"""Headers that the guard sets for the app, and takes from every request that comes with them."""


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody who is signed in; `session` is the id that audit entries carry."""

    name: str
    role: Role
    session: str

    def may(self, needed: Role | str) -> bool:
        """Say whether the user's role reaches as far as `needed`."""
        return self.role.may(needed)


_sessions: Sessions | None = None


def use(sessions: Sessions) -> None:
    """Make `sessions` those that this process asks."""
    global _sessions
    _sessions = sessions


def session_in(cookies: str, sessions: Sessions) -> Session | None:
    """Return the session of a `Cookie` header's text, while it counts."""
    return sessions.of(cookie_parser(cookies).get(sessions.cookie))


def user_of(headers: Mapping[str, str]) -> User | None:
    """Return who sent a request with these headers (`st.context.headers`), if the session still counts.

    The cookie is judged anew each time: headers of a websocket are as old as its handshake.
    """
    if _sessions is None:
        return None
    session = session_in(headers.get("cookie") or headers.get("Cookie") or "", _sessions)
    return None if session is None else User(name=session.user, role=session.role, session=session.id)
