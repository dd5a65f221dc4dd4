"""Security headers of all responses."""

from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

# Streamlit's front end needs its own scripts, those of components (blob:), compiled expressions of plots, styles set by
# scripts and images drawn by scripts. Other origins are excluded.
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
_SIGN_IN = {
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'self'",
}


def _policy(sources: dict[str, str], ancestors: str) -> str:
    return "; ".join(f"{kind} {value}" for kind, value in (sources | {"frame-ancestors": ancestors}).items())


COMPONENT_POLICY = _policy(_APP | {"script-src": f"{_APP['script-src']} 'unsafe-inline'"}, "'self'")
SIGN_IN_POLICY = _policy(_SIGN_IN, "'none'")
API_POLICY = _policy({"default-src": "'none'"}, "'none'")


def app_policy(scripts: Iterable[str]) -> str:
    """Return the content security policy of the app's pages with the digests of their inline `scripts`."""
    return _policy(_APP | {"script-src": " ".join([_APP["script-src"], *scripts])}, "'none'")


def add_security_headers(scope: Scope, send: Send, policy: str) -> Send:
    """Return a `send` that adds the headers to every response."""
    # Custom components are shown in frames. Bundles hold no data and have their digest in the name, so they are cached.
    framed = scope["path"].startswith("/component/")
    bundle = scope["path"].startswith("/static/")

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
