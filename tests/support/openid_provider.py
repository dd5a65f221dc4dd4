"""A small OpenID provider on this machine: discovery, a signed identity token, and PKCE as the standard wants it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "vestigo", "the client's secret"


class Provider:
    """What the provider knows; tests change `claims` to say who signs in there, and the rest to make it misbehave."""

    def __init__(self) -> None:
        self.url = ""
        self.claims: dict[str, Any] = {"sub": "7", "preferred_username": "anna", "groups": ["police"]}
        self.wrong_nonce = False
        self.wrong_key = False
        self.wrong_audience = False
        self.issuer: str | None = None
        self.grants: dict[str, dict[str, str]] = {}
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.other_key = RSAKey.generate_key(2048, {"kid": "one"})

    def authorize(self, location: str) -> str:
        """Sign in there, as a browser sent to `location` would; return the address that it is sent back to."""
        asked = {key: values[0] for key, values in parse_qs(urlsplit(location).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["nonce"]) > 10
        code = secrets.token_hex(8)
        self.grants[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def token(self, form: dict[str, str], credentials: str) -> dict[str, Any] | None:
        """Answer a code once, to whoever knows the client's secret and the verifier."""
        asked = self.grants.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked is None or credentials != f"Basic {known}" or asked["redirect_uri"] != form["redirect_uri"]:
            return None
        if challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {
            "iss": self.issuer or self.url,
            "aud": "somebody else" if self.wrong_audience else CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": "replayed" if self.wrong_nonce else asked["nonce"],
            **self.claims,
        }
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.other_key if self.wrong_key else self.key)
        return {"access_token": "a", "token_type": "Bearer", "id_token": signed, "expires_in": 300}

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.issuer or self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
        }


@contextmanager
def provider() -> Iterator[Provider]:
    """Run a provider on a free port."""
    known = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            documents = {
                "/.well-known/openid-configuration": known.metadata(),
                "/jwks": {"keys": [known.key.as_dict(private=False)]},
            }
            self._answer(documents.get(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {key: values[0] for key, values in parse_qs(body).items()}
            self._answer(known.token(form, self.headers.get("Authorization", "")))

        def _answer(self, document: dict[str, Any] | None) -> None:
            self.send_response(400 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document or {"error": "invalid_grant"}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
