"""Signing in with a password, signing out, and their entries in the audit log."""

import logging
import math
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, quote, urlsplit

from anyio import CapacityLimiter, to_thread
from itsdangerous import BadSignature, URLSafeSerializer
from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from vestigo.store.open import Store
from vestigo_models.errors import UsageError, VestigoError
from vestigo_ui.web.auth.sessions import Kind, Session, Sessions
from vestigo_ui.web.auth.throttle import Throttle
from vestigo_ui.web.auth.users import Account, Role, Users
from vestigo_ui.web.server.shell import DARK, LIGHT
from vestigo_ui.web.settings import Settings

Action = Literal["sign-in", "sign-in refused", "sign-out"]
MAX_CHANGES = 10_000
"""Entries about users that are compared with the changes of the users file."""
UNKNOWN_USER = "unknown"
"""User of a refused sign-in without an account. The typed name is not logged: it may be a password."""
MAX_FORM_BYTES = 16_384
MAX_HASHES = 2
"""Passwords hashed at the same time. Each takes 64 MiB and one core."""
WRONG = "Name or password is wrong."
CLOSED = "Signing in is not possible at the moment. The server's output names the reason."
PAGE = Environment(loader=PackageLoader("vestigo_ui.web.auth"), autoescape=True, trim_blocks=True).get_template(
    "sign_in.html", globals={"light": LIGHT, "dark": DARK, "quote": quote}
)
"""The page of signing in, or with `user` of signing out: plain HTML without scripts."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SignInEvent:
    """A sign-in, a refused sign-in or a sign-out."""

    action: Action
    user: str
    details: Mapping[str, str] = field(default_factory=dict)


class SignInRefused(Exception):  # noqa: N818  (an outcome for the user, and no fault)
    """A sign-in is refused; `reason` is for the user, `status` and `headers` are those of the response."""

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


OnEvent = Callable[[SignInEvent], object]


class SignIn:
    """The routes `/sign-in` and `/sign-out`, and the beginning of a session for every kind of sign-in."""

    def __init__(self, sessions: Sessions, on_event: OnEvent, provider: str | None = None) -> None:
        self.sessions = sessions
        self._on_event = on_event
        self._provider = provider
        self._throttle = Throttle()
        self._tokens = URLSafeSerializer(sessions.key, salt="sign-in form")
        self._token_cookie = f"{sessions.cookie}_form"
        self._hashing = CapacityLimiter(MAX_HASHES)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/sign-in", self.show, methods=["GET"]),
            Route("/sign-in", self.submit, methods=["POST"]),
            Route("/sign-out", self.confirm_sign_out, methods=["GET"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form, or redirect a signed-in user."""
        next_path = local_path(request.query_params.get("next"))
        if self._session(request) is not None:
            return RedirectResponse(next_path, 303)
        return self.page(request, next_path)

    async def submit(self, request: Request) -> Response:
        """Check a name and a password."""
        body = await _read_form(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        fields = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
        name, next_path = fields.get("name", "").strip(), local_path(fields.get("next"))
        if not self._has_valid_token(request, fields.get("token", "")):
            return self.page(request, next_path, "This page was out of date. Please try again.", name, 403)
        try:
            account = await self.verify_password(request, name, fields.get("password", ""))
        except SignInRefused as refused:
            page = self.page(request, next_path, refused.reason, name, refused.status)
            page.headers.update(refused.headers)
            return page
        return await self.begin_session(request, name, account.role, "password", account.version, next_path)

    async def verify_password(self, request: Request, name: str, password: str) -> Account:
        """Return the account of a name and password; raise SignInRefused, with an audit entry for a wrong password."""
        address = client_address(request)
        if (wait := self._throttle.attempt(name, address)) > 0:
            seconds = math.ceil(wait)
            raise SignInRefused(429, f"Too many attempts. Please try again in {seconds} seconds.", retry_after=seconds)
        try:
            account = await to_thread.run_sync(self.sessions.users.verify, name, password, limiter=self._hashing)
            known = name in self.sessions.users.accounts()
        except VestigoError as error:
            log.error("sign-in is not possible: %s", error)
            raise SignInRefused(503, CLOSED) from error
        if account is None:
            await self.record(request, "sign-in refused", name if known else UNKNOWN_USER, by="password")
            raise SignInRefused(401, WRONG)
        self._throttle.record_success(name, address)
        return account

    async def begin_session(
        self, request: Request, user: str, role: Role, kind: Kind, version: str, next_path: str, **details: str
    ) -> Response:
        """Begin a session after its audit entry is committed."""
        if not await self.record(request, "sign-in", user, by=kind, **details):
            return self.page(request, next_path, CLOSED, status=503)
        response = RedirectResponse(next_path, 303)
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

    async def confirm_sign_out(self, request: Request) -> Response:
        """Show the page that confirms signing out."""
        session = self._session(request)
        return RedirectResponse("/sign-in", 303) if session is None else HTMLResponse(PAGE.render(user=session.user))

    async def sign_out(self, request: Request) -> Response:
        """End the session. Posts of other sites come without the cookie and cannot end it."""
        session = self._session(request)
        if session is not None:
            try:
                await to_thread.run_sync(self.sessions.end, session)
            except VestigoError as error:
                log.error("a session cannot be ended: %s", error)
                return PlainTextResponse("the session cannot be ended at the moment", 503)
            await self.record(request, "sign-out", session.user)
        response = RedirectResponse("/sign-in", 303)
        response.delete_cookie(self.sessions.cookie)
        return response

    def page(
        self, request: Request, next_path: str, error: str = "", name: str = "", status: int = 200
    ) -> HTMLResponse:
        """Return the sign-in page. Its form is valid only with the cookie that the response sets."""
        stored = request.cookies.get(self._token_cookie, "")
        token = stored if self._is_signed(stored) else str(self._tokens.dumps(secrets.token_hex(16)))
        passwords = True
        if self._provider is not None:
            with suppress(VestigoError):
                passwords = bool(self.sessions.users.accounts())
        content = {"token": token if passwords else None, "error": error, "name": name, "provider": self._provider}
        page = HTMLResponse(PAGE.render(**content, next_path=next_path), status)
        page.set_cookie(
            self._token_cookie, token, path="/sign-in", httponly=True, samesite="strict", secure=_encrypted(request)
        )
        return page

    def _session(self, request: Request) -> Session | None:
        return self.sessions.from_cookies(request.headers.get("cookie", ""))

    def _has_valid_token(self, request: Request, token: str) -> bool:
        stored = request.cookies.get(self._token_cookie, "")
        return secrets.compare_digest(stored.encode(), token.encode()) and self._is_signed(stored)

    def _is_signed(self, token: str) -> bool:
        try:
            self._tokens.loads(token)
        except BadSignature:
            return False
        return True

    async def record(self, request: Request, action: Action, user: str, **details: str) -> bool:
        """Write an entry of the audit log, and return whether it is written."""
        event = SignInEvent(action=action, user=user, details={"address": client_address(request), **details})
        try:
            await to_thread.run_sync(self._on_event, event)
        except VestigoError as error:
            log.error("the audit log cannot be written: %s", error)
            return False
        return True


def require_users(users: Users, settings: Settings) -> None:
    """Raise UsageError if there is neither a user nor an OpenID provider."""
    if not users.accounts() and settings.oidc is None:
        raise UsageError(f"{users.path} has no user who could sign in; run `vestigo ui user add NAME --role admin`")


def audit_events(store: Store, users: Users) -> OnEvent:
    """Return a function that writes an event to the store's audit log, or raises StoreError.

    Changes of users are written before it: the users file belongs to no store.
    """

    def record(event: SignInEvent) -> None:
        audit_user_changes(store, users)
        store.audit.record(event.user, event.action, details=dict(event.details))

    return record


def audit_user_changes(store: Store, users: Users) -> None:
    """Write the changes of users that the store's audit log lacks."""
    changes = users.changes()
    if not changes:
        return
    logged = {entry.details.get("at") for entry in store.audit.entries(action="user", newest=True, limit=MAX_CHANGES)}
    for change in changes:
        if change["at"] not in logged:
            store.audit.record(change["account"], "user", details=change)


def local_path(text: str | None) -> str:
    """Return a path of this server with its query, or `/` for any other address."""
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text or len(text) > 4000:
        return "/"
    if any(ord(letter) < 33 or ord(letter) == 127 for letter in text):
        return "/"
    parts = urlsplit(text)
    return "/" if parts.scheme or parts.netloc or parts.path.startswith("/sign-") else text


def client_address(request: Request) -> str:
    """Return the network address of the client."""
    return request.client.host if request.client else UNKNOWN_USER


def _encrypted(request: Request) -> bool:
    return request.url.scheme == "https"


async def _read_form(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return None
    return bytes(body)
