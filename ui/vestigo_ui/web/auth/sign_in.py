"""Signing in with a password, and signing out."""

from __future__ import annotations

import logging
import math
import secrets
from urllib.parse import parse_qs, urlsplit

from anyio import CapacityLimiter, to_thread
from itsdangerous import BadSignature, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vestigo_models.errors import VestigoError
from vestigo_ui.web.auth.events import NOBODY, Event, OnEvent
from vestigo_ui.web.auth.identity import session_in
from vestigo_ui.web.auth.pages import sign_in_page, sign_out_page
from vestigo_ui.web.auth.sessions import Kind, Session, Sessions
from vestigo_ui.web.auth.throttle import Throttle
from vestigo_ui.web.auth.users import Role

MAX_FORM_BYTES = 16_384
AT_ONCE = 2
"""Passwords that are hashed at the same time: each takes 64 MiB and a core's attention."""
WRONG = "Name or password is wrong."
CLOSED = "Signing in is not possible at the moment; whoever runs this server finds the reason in its output."
log = logging.getLogger(__name__)


class SignIn:
    """What `/sign-in` and `/sign-out` do, and how any way of signing in begins a session."""

    def __init__(self, sessions: Sessions, on_event: OnEvent, provider: str | None = None) -> None:
        self.sessions = sessions
        self._on_event = on_event
        self._provider = provider
        self._throttle = Throttle()
        self._tokens = URLSafeSerializer(sessions.key, salt="sign-in form")
        self._token_cookie = f"{sessions.cookie}_form"
        self._hashing = CapacityLimiter(AT_ONCE)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/sign-in", self.show, methods=["GET"]),
            Route("/sign-in", self.submit, methods=["POST"]),
            Route("/sign-out", self.ask, methods=["GET"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form, or pass on who is signed in already."""
        following = local_path(request.query_params.get("next"))
        if self._session(request) is not None:
            return RedirectResponse(following, 303)
        return self.page(request, following)

    async def submit(self, request: Request) -> Response:
        """Judge a name and a password."""
        body = await _limited(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        fields = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
        name, following = fields.get("name", "").strip(), local_path(fields.get("next"))
        if not self._token_fits(request, fields.get("token", "")):
            return self.page(request, following, "This page was out of date. Please try again.", name, 403)
        address = client(request)
        if (wait := self._throttle.attempt(name, address)) > 0:
            error = f"Too many attempts. Please try again in {math.ceil(wait)} seconds."
            page = self.page(request, following, error, name, 429)
            page.headers["Retry-After"] = str(math.ceil(wait))
            return page
        try:
            account = await to_thread.run_sync(
                self.sessions.users.verify, name, fields.get("password", ""), limiter=self._hashing
            )
            known = name in self.sessions.users.accounts()
        except VestigoError as error:
            log.error("nobody can sign in: %s", error)
            return self.page(request, following, CLOSED, name, 503)
        if account is None:
            await self.refused(request, name if known else NOBODY, "password")
            return self.page(request, following, WRONG, name, 401)
        self._throttle.succeeded(name, address)
        return await self.let_in(request, name, account.role, "password", account.version, following)

    async def let_in(
        self, request: Request, user: str, role: Role, kind: Kind, version: str, following: str, **details: str
    ) -> Response:
        """Begin a session, once the audit log knows of it."""
        event = Event(action="sign-in", user=user, details={"address": client(request), "by": kind, **details})
        if not await self._tell(event):
            return self.page(request, following, CLOSED, status=503)
        response = RedirectResponse(following, 303)
        response.set_cookie(
            self.sessions.cookie,
            self.sessions.begin(user, role, kind, version),
            max_age=int(self.sessions.seconds),
            httponly=True,
            samesite="lax",
            secure=_encrypted(request),
        )
        response.delete_cookie(self._token_cookie, path="/sign-in")
        return response

    async def refused(self, request: Request, user: str, kind: Kind, **details: str) -> None:
        """Tell the audit log that somebody was refused."""
        address = client(request)
        await self._tell(
            Event(action="sign-in refused", user=user, details={"address": address, "by": kind, **details})
        )

    async def ask(self, request: Request) -> Response:
        """Ask whether to sign out."""
        session = self._session(request)
        return RedirectResponse("/sign-in", 303) if session is None else sign_out_page(session.user)

    async def leave(self, request: Request) -> Response:
        """End the session; a page of another site cannot, as its posts come without the cookie."""
        session = self._session(request)
        if session is not None:
            try:
                await to_thread.run_sync(self.sessions.end, session)
            except VestigoError as error:
                log.error("a session cannot be ended: %s", error)
                return PlainTextResponse("the session cannot be ended at the moment", 503)
            await self._tell(Event(action="sign-out", user=session.user, details={"address": client(request)}))
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(self.sessions.cookie)
        return response

    def page(
        self, request: Request, following: str, error: str = "", name: str = "", status: int = 200
    ) -> HTMLResponse:
        """Return the sign-in page; its form is good only together with a cookie that comes with it."""
        kept = request.cookies.get(self._token_cookie, "")
        token = kept if self._signed(kept) else str(self._tokens.dumps(secrets.token_hex(16)))
        passwords = self._provider is None or self._has_accounts()
        page = sign_in_page(
            token=token if passwords else None,
            following=following,
            error=error,
            name=name,
            provider=self._provider,
            status=status,
        )
        page.set_cookie(
            self._token_cookie, token, path="/sign-in", httponly=True, samesite="strict", secure=_encrypted(request)
        )
        return page

    def _has_accounts(self) -> bool:
        try:
            return bool(self.sessions.users.accounts())
        except VestigoError:
            return True

    def _session(self, request: Request) -> Session | None:
        return session_in(request.headers.get("cookie", ""), self.sessions)

    def _token_fits(self, request: Request, token: str) -> bool:
        kept = request.cookies.get(self._token_cookie, "")
        return secrets.compare_digest(kept.encode(), token.encode()) and self._signed(kept)

    def _signed(self, token: str) -> bool:
        try:
            self._tokens.loads(token)
        except BadSignature:
            return False
        return True

    async def _tell(self, event: Event) -> bool:
        try:
            await to_thread.run_sync(self._on_event, event)
        except VestigoError as error:
            log.error("the audit log cannot be written: %s", error)
            return False
        return True


def local_path(text: str | None) -> str:
    """Return a path of this server with its query, or `/` for anything that could lead elsewhere."""
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text or len(text) > 4000:
        return "/"
    if any(ord(letter) < 33 or ord(letter) == 127 for letter in text):
        return "/"
    parts = urlsplit(text)
    return "/" if parts.scheme or parts.netloc or parts.path.startswith("/sign-") else text


def client(request: Request) -> str:
    """Return the address that a request came from."""
    return request.client.host if request.client else NOBODY


def _encrypted(request: Request) -> bool:
    return request.url.scheme == "https"


async def _limited(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return None
    return bytes(body)
