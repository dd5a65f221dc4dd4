"""The server's ASGI application: routes, the check of sessions, errors and headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from vestigo_ui.search.warm import WarmSearch
from vestigo_ui.web.api.description import Operation, describe
from vestigo_ui.web.api.endpoints import MAX_REQUESTS, Endpoints, json_response
from vestigo_ui.web.api.refusal import ApiRefusal, refusal_of
from vestigo_ui.web.auth.sessions import Session, Sessions
from vestigo_ui.web.auth.sign_in import OnEvent, SignIn
from vestigo_ui.web.server.headers import API_POLICY, add_security_headers
from vestigo_ui.web.settings import Settings

UNSIGNED = (
    "Sign in first: POST name and password to /v1/session, and send its token as Authorization: Bearer TOKEN. Sessions "
    "end when they expire, at sign-out, and when the user changes."
)
BUSY = f"The server answers {MAX_REQUESTS} requests already. Try again in a moment."


def make_api(warm: WarmSearch, sessions: Sessions, settings: Settings, on_event: OnEvent) -> ASGIApp:
    """Return the application."""
    endpoints = Endpoints(warm, SignIn(sessions, on_event), settings)
    gate = _Gate(sessions)
    operations = {
        Operation.HEALTH: gate.open(endpoints.health),
        Operation.SIGN_IN: gate.open(endpoints.sign_in),
        Operation.SIGN_OUT: gate.signed_in(endpoints.sign_out),
        Operation.SEARCH: gate.signed_in(endpoints.search),
        Operation.CROP: gate.signed_in(endpoints.crop),
    }
    description = json_response(describe())

    async def openapi(_request: Request) -> Response:
        return description

    routes = [Route(operation.path, handler, methods=[operation.method]) for operation, handler in operations.items()]
    routes.append(Route("/v1/openapi.json", openapi, methods=["GET"]))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse_address})

    async def with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, add_security_headers(scope, send, API_POLICY) if scope["type"] == "http" else send)

    return with_headers


class _Gate:
    """Wraps handlers: checks sessions, limits requests at the same time, and turns errors into one line."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._requests = 0

    def open(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler for everybody."""

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:  # noqa: BLE001  (every error is one line for the client)
                return _refuse(refusal_of(error))

        return handle

    def signed_in(
        self, handler: Callable[[Request, Session], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler for signed-in users."""

        async def handle(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            session = self._sessions.find(token.strip()) if scheme.lower() == "bearer" else None
            if session is None:
                raise ApiRefusal(401, UNSIGNED, {"WWW-Authenticate": "Bearer"})
            if self._requests >= MAX_REQUESTS:
                raise ApiRefusal(503, BUSY, {"Retry-After": "1"})
            self._requests += 1
            try:
                return await handler(request, session)
            finally:
                self._requests -= 1

        return self.open(handle)


def _refuse(refusal: ApiRefusal) -> Response:
    response = json_response({"error": refusal.reason}, status=refusal.status)
    response.headers.update(refusal.headers)
    return response


async def _refuse_address(request: Request, error: Any) -> Response:
    reason = f"{request.method} {request.url.path}: {error.detail}; see /v1/openapi.json"
    return _refuse(ApiRefusal(error.status_code, reason, error.headers))
