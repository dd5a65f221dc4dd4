"""Streamlit behind the guard: its options and colours, and its HTML page with the product's name and sign-in."""

import base64
import hashlib
import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# Set the address of the server, which the front end would otherwise search below each page's path. When a session has
# ended, requests are answered with 401; reloading the page then leads to sign-in and back to the same address.
_HEAD_SCRIPT = """
window.__streamlit = { BACKEND_BASE_URL: location.origin };
const originalFetch = window.fetch;
window.fetch = async (...request) => {
  const response = await originalFetch(...request);
  if (response.status === 401 && new URL(response.url).origin === location.origin) location.reload();
  return response;
};
"""
MAX_UPLOAD_MB = 20
LIGHT = {
    "primaryColor": "#0f766e",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f5f5",
    "textColor": "#1c2826",
    "borderColor": "#d9e0df",
}
DARK = {
    "primaryColor": "#2dd4bf",
    "backgroundColor": "#101716",
    "secondaryBackgroundColor": "#1a2423",
    "textColor": "#e6eceb",
    "borderColor": "#2c3a38",
}
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_PAGE = re.compile(r"/[^/.]*")


def make_options(address: str, port: int) -> dict[str, str | float | bool]:
    """Return Streamlit's options, which override its configuration files.

    Tracebacks may contain paths and stay in the terminal. Tables are exported only by the audited downloads of a page.
    The browser keeps no large elements: on a slow connection it can drop one that it has just reported as kept, and
    Streamlit then shows "Connection error" over the page.
    """
    return {
        "server.address": address,
        "server.port": port,
        "server.baseUrlPath": "",
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "global.minCachedMessageSize": 1e12,
        "browser.gatherUsageStats": False,
        "client.disableDataExport": True,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "client.toolbarMode": "minimal",
        "logger.level": "warning",
        "theme.baseRadius": "0.5rem",
        **{f"theme.light.{key}": value for key, value in LIGHT.items()},
        **{f"theme.dark.{key}": value for key, value in DARK.items()},
    }


class Shell:
    """Answers page requests and passes all others to `app`; `home` is the path that the first page also has."""

    def __init__(self, app: ASGIApp, static: Path, home: str = "/archive") -> None:
        self._app = app
        self._home = home
        self._html = make_shell(static.joinpath("index.html").read_text("utf-8"))
        self.scripts = [_digest(text) for text in _INLINE.findall(self._html)]
        """Digests of the inline scripts for the content security policy."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] == "http" and is_page_request(scope) and _PAGE.fullmatch(scope["path"]):
            # Streamlit knows the first page by the path / only.
            query = scope["query_string"].decode("latin-1")
            is_home = scope["path"] == self._home
            response = RedirectResponse(f"/?{query}" if query else "/", 307) if is_home else HTMLResponse(self._html)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def is_page_request(scope: Scope) -> bool:
    """Return whether a browser requests a page."""
    return scope["method"] in ("GET", "HEAD") and "text/html" in Headers(scope=scope).get("accept", "")


def make_shell(html: str) -> str:
    """Return Streamlit's index page with the changes of this module."""
    html = re.sub(r"<title>.*?</title>", "<title>Vestigo</title>", html)
    html = re.sub(r"(?s)<!--.*?-->|<link rel=\"service-desc\"[^>]*>", "", html)
    html = re.sub(r"(?s)<noscript>.*?</noscript>", "<noscript>This page needs JavaScript.</noscript>", html)
    return html.replace("<head>", f"<head><script>{_HEAD_SCRIPT}</script>", 1).strip()


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
