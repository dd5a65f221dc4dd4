"""Refusals of requests: one line and a status."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect, Request

from vestigo_models.errors import StoreUnavailable, VestigoError, hide_credentials
from vestigo_ui.web.auth.sign_in import SignInRefused

OUTAGE = (
    "The store does not answer: its database or its files cannot be reached. Nothing was shown. Try again in a moment; "
    "the server's output names the reason."
)
FAILED = "The server failed. Its output names the reason."
log = logging.getLogger(__name__)


class ApiRefusal(Exception):  # noqa: N818  (an outcome for the user, and no fault)
    """A request is refused."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


def refusal_of(error: Exception) -> ApiRefusal:
    """Return the refusal for an error; the reasons of outages and faults are logged and not sent."""
    if isinstance(error, ApiRefusal):
        return error
    if isinstance(error, SignInRefused):
        return ApiRefusal(error.status, error.reason, error.headers)
    if isinstance(error, ClientDisconnect):
        return ApiRefusal(400, "the body is not complete")
    if _is_outage(error):
        log.error("%s", hide_credentials(str(error)))
        return ApiRefusal(503, OUTAGE, {"Retry-After": "5"})
    if isinstance(error, VestigoError):
        return ApiRefusal(400, " ".join(hide_credentials(str(error)).split()))
    log.error("a request failed", exc_info=error)
    return ApiRefusal(500, FAILED)


def _is_outage(error: Exception) -> bool:
    # An audit entry that cannot be written is a StoreError with the outage as its cause.
    kinds = (StoreUnavailable, DBAPIError, OSError)
    return isinstance(error, kinds) or isinstance(error.__cause__, kinds[:2])


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body of a request; raise ApiRefusal if it is larger than `limit` bytes or not declared as JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiRefusal(415, f"Content-Type {kind!r}: send application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise ApiRefusal(413, f"the body has more than {limit:,} bytes; send fewer or smaller images")
    return bytes(body)
