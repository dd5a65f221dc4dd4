"""The HTML page that Streamlit's front end starts from, with the product's name and a way back to the sign-in page."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# The front end is told where its server is, instead of trying below each page's path first. It asks again and again
# where its websocket was closed, and would show a number: a session that has ended shows as 401, and loading the page
# anew leads to signing in, and from there back to the same address.
_BEFORE = """
window.__streamlit = { BACKEND_BASE_URL: location.origin };
const ask = window.fetch;
window.fetch = async (...request) => {
  const answer = await ask(...request);
  if (answer.status === 401 && new URL(answer.url).origin === location.origin) location.reload();
  return answer;
};
"""
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_PAGE = re.compile(r"/[^/.]*")


class Shell:
    """Answers requests for pages itself and hands all others to `app`."""

    def __init__(self, app: ASGIApp, static: Path) -> None:
        self._app = app
        self._html = shell(static.joinpath("index.html").read_text("utf-8"))
        self.scripts = [_digest(text) for text in _INLINE.findall(self._html)]
        """What a content security policy calls the page's inline scripts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] == "http" and is_page_request(scope) and _PAGE.fullmatch(scope["path"]):
            await HTMLResponse(self._html)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def is_page_request(scope: Scope) -> bool:
    """Say whether a browser wants to show the answer to a request as a page."""
    return scope["method"] in ("GET", "HEAD") and "text/html" in Headers(scope=scope).get("accept", "")


def shell(html: str) -> str:
    """Return Streamlit's page as ours."""
    html = re.sub(r"<title>.*?</title>", "<title>Vestigo</title>", html)
    html = re.sub(r"(?s)<!--.*?-->|<link rel=\"service-desc\"[^>]*>", "", html)
    html = re.sub(r"(?s)<noscript>.*?</noscript>", "<noscript>This page needs JavaScript.</noscript>", html)
    return html.replace("<head>", f"<head><script>{_BEFORE}</script>", 1).strip()


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
