"""The door: nothing of the app is reached without a session, whether page, picture, upload or websocket."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vestigo_ui.web.auth.identity import ROLE, SESSION, USER, session_in
from vestigo_ui.web.auth.sessions import Session, Sessions
from vestigo_ui.web.server.headers import ENTRANCE_POLICY, secured
from vestigo_ui.web.server.shell import is_page_request

ENTRANCE = ("/sign-in", "/sign-out", "/healthz")
OIDC = "/oidc/"
HEALTH = "/_stcore/health"
ENDED = 4401
"""Code of a websocket that is closed because its session does not count, after HTTP's 401."""
_MAX_NEXT = 2000


class Guard:
    """Pure ASGI: hands the open paths to `entrance` and, to those who are signed in, the rest to `app`.

    `policy` is the content security policy of the app's answers.
    """

    def __init__(self, app: ASGIApp, entrance: ASGIApp, sessions: Sessions, policy: str) -> None:
        self._app = app
        self._policy = policy
        self._entrance = entrance
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse or pass on one request."""
        if scope["type"] == "http":
            await self._http(_without_claims(scope), receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(_without_claims(scope), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path in ENTRANCE or path.startswith(OIDC):
            await self._entrance(scope, receive, secured(scope, send, ENTRANCE_POLICY))
            return
        send = secured(scope, send, self._policy)
        if path == HEALTH and method in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = session_in(headers.get("cookie", ""), self._sessions)
        if session is not None:
            await self._app(_with_claims(scope, session), receive, send)
        elif is_page_request(scope):
            await RedirectResponse(_sign_in_for(scope), 303)(scope, receive, send)
        else:
            await PlainTextResponse("sign in first", 401)(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        session = session_in(headers.get("cookie", ""), self._sessions)
        if session is None or not _own_origin(headers):
            await receive()
            await send({"type": "websocket.close", "code": ENDED})
            return
        await _Channel(self._sessions, session, receive, send).run(self._app, _with_claims(scope, session))


class _Channel:
    """An open websocket, which closes as soon as its session ends, whichever side speaks next."""

    def __init__(self, sessions: Sessions, session: Session, receive: Receive, send: Send) -> None:
        self._sessions = sessions
        self._session = session
        self._receive = receive
        self._send = send
        self._closed = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._incoming, self._outgoing)

    async def _incoming(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.receive" and not self._sessions.counts(self._session):
            await self._close()
            return {"type": "websocket.disconnect", "code": ENDED}
        return message

    async def _outgoing(self, message: Message) -> None:
        if self._closed:
            return
        if message["type"] == "websocket.send" and not self._sessions.counts(self._session):
            await self._close()
            return
        await self._send(message)

    async def _close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._send({"type": "websocket.close", "code": ENDED})


def _without_claims(scope: Scope) -> Scope:
    """Nobody tells the app who they are but the guard."""
    return {**scope, "headers": [pair for pair in scope["headers"] if not pair[0].lower().startswith(b"x-vestigo-")]}


def _with_claims(scope: Scope, session: Session) -> Scope:
    claims = {USER: quote(session.user, safe="@:"), ROLE: session.role.value, SESSION: session.id}
    return {**scope, "headers": [*scope["headers"], *((key.encode(), value.encode()) for key, value in claims.items())]}


def _own_origin(headers: Headers) -> bool:
    """A page of another site cannot open a websocket in the name of who looks at it."""
    origin, host = headers.get("origin"), headers.get("host")
    return bool(origin and host) and urlsplit(origin or "").netloc.lower() == (host or "").lower()


def _sign_in_for(scope: Scope) -> str:
    asked = quote(scope["path"], safe="/") + (
        f"?{scope['query_string'].decode('latin-1')}" * bool(scope["query_string"])
    )
    return "/sign-in" if asked == "/" or len(asked) > _MAX_NEXT else f"/sign-in?next={quote(asked, safe='')}"
