"""ASGI guard: every page, image, upload and websocket of the app requires a valid session."""

from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vestigo_ui.web.auth.sessions import Session, Sessions
from vestigo_ui.web.server.headers import SIGN_IN_POLICY, add_security_headers
from vestigo_ui.web.server.shell import is_page_request

PUBLIC_PATHS = ("/sign-in", "/sign-out", "/healthz")
PUBLIC_PREFIX = "/oidc/"
HEALTH = "/_stcore/health"
SESSION_ENDED = 4401
"""Close code of a websocket without a valid session, after HTTP's 401."""
_USER_HEADERS = b"x-vestigo-"
_MAX_NEXT = 2000


class Guard:
    """Passes public paths to `public_app`, all others of signed-in users to `app`; its pages have the CSP `policy`."""

    def __init__(self, app: ASGIApp, public_app: ASGIApp, sessions: Sessions, policy: str) -> None:
        self._app = app
        self._public_app = public_app
        self._sessions = sessions
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse or pass on one request."""
        if scope["type"] == "http":
            await self._http(_remove_user_headers(scope), receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(_remove_user_headers(scope), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX):
            await self._public_app(scope, receive, add_security_headers(scope, send, SIGN_IN_POLICY))
            return
        send = add_security_headers(scope, send, self._policy)
        if path == HEALTH and method in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        session = self._sessions.from_cookies(Headers(scope=scope).get("cookie", ""))
        if session is not None:
            await self._app(_add_user_headers(scope, session), receive, send)
        elif is_page_request(scope):
            await RedirectResponse(_sign_in_path(scope), 303)(scope, receive, send)
        else:
            await PlainTextResponse("sign in first", 401)(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        session = self._sessions.from_cookies(headers.get("cookie", ""))
        if session is None or not _has_own_origin(headers):
            await receive()
            await send({"type": "websocket.close", "code": SESSION_ENDED})
            return
        closed = False

        async def is_over(message: Message, kind: str) -> bool:
            """Return whether the session has ended, and close the websocket at the first message after its end."""
            nonlocal closed
            if not closed and message["type"] == kind and not self._sessions.is_valid(session):
                closed = True
                await send({"type": "websocket.close", "code": SESSION_ENDED})
            return closed

        async def incoming() -> Message:
            message = await receive()
            ended = await is_over(message, "websocket.receive")
            return {"type": "websocket.disconnect", "code": SESSION_ENDED} if ended else message

        async def outgoing(message: Message) -> None:
            if not await is_over(message, "websocket.send"):
                await send(message)

        await self._app(_add_user_headers(scope, session), incoming, outgoing)


def _remove_user_headers(scope: Scope) -> Scope:
    """Remove the headers that only the guard may set."""
    headers = [pair for pair in scope["headers"] if not pair[0].lower().startswith(_USER_HEADERS)]
    return {**scope, "headers": headers}


def _add_user_headers(scope: Scope, session: Session) -> Scope:
    values = {b"user": quote(session.user, safe="@:"), b"role": session.role.value, b"session": session.id}
    headers = [(_USER_HEADERS + name, value.encode()) for name, value in values.items()]
    return {**scope, "headers": [*scope["headers"], *headers]}


def _has_own_origin(headers: Headers) -> bool:
    """Return whether a page of this server opens the websocket, not one of another site."""
    origin, host = headers.get("origin"), headers.get("host")
    return bool(origin and host) and urlsplit(origin or "").netloc.lower() == (host or "").lower()


def _sign_in_path(scope: Scope) -> str:
    path, query = quote(scope["path"], safe="/"), scope["query_string"].decode("latin-1")
    target = f"{path}?{query}" if query else path
    return "/sign-in" if target == "/" or len(target) > _MAX_NEXT else f"/sign-in?next={quote(target, safe='')}"
