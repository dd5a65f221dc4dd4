"""Headers that every answer carries, whatever made it."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

# What Streamlit's front end needs: scripts of its own, of components (blob:) and compiled ones (expressions of plots),
# styles that scripts write, pictures that they draw. Nothing from anywhere else.
_APP = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'self' data: blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
_ENTRANCE = {
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'self'",
}


def _policy(sources: dict[str, str], ancestors: str) -> str:
    return "; ".join(f"{kind} {value}" for kind, value in (sources | {"frame-ancestors": ancestors}).items())


COMPONENT_POLICY = _policy(_APP | {"script-src": f"{_APP['script-src']} 'unsafe-inline'"}, "'self'")
ENTRANCE_POLICY = _policy(_ENTRANCE, "'none'")


def app_policy(scripts: Iterable[str]) -> str:
    """Return the policy of the app's pages, whose inline `scripts` are named by their digests."""
    return _policy(_APP | {"script-src": " ".join([_APP["script-src"], *scripts])}, "'none'")


def secured(scope: Scope, send: Send, policy: str) -> Send:
    """Return a `send` that adds the headers to whatever answer passes through it."""
    path = scope["path"]
    # The app shows custom components in frames of its own; its bundles tell nothing and are named by their digest.
    framed = path.startswith("/component/")
    bundle = path.startswith("/static/")

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            headers["X-Frame-Options"] = "SAMEORIGIN" if framed else "DENY"
            headers["Content-Security-Policy"] = COMPONENT_POLICY if framed else policy
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            if not bundle or message["status"] not in (200, 206, 304):
                headers["Cache-Control"] = "no-store"
        await send(message)

    return with_headers
