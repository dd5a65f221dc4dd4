"""Signing in through an OpenID provider: authorization code flow with PKCE, state and nonce."""

import logging
import re
from collections.abc import Mapping
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vestigo_ui.web.auth.sessions import provider_version
from vestigo_ui.web.auth.sign_in import UNKNOWN_USER, SignIn, local_path
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import OidcSettings, read_secret

REFUSED = "Your account has no access to this server. Ask its administrator."
FAILED = "Sign-in failed. Please try again."
_NOT_IN_NAMES = re.compile(r"[^\w.@+ -]")
log = logging.getLogger(__name__)


class Oidc:
    """The routes `/oidc/start` and `/oidc/callback`."""

    def __init__(self, settings: OidcSettings, sign_in: SignIn) -> None:
        self._settings = settings
        self._sign_in = sign_in
        self._client = OAuth().register(
            name="provider",
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_id=settings.client_id,
            client_secret=read_secret(settings.client_secret_file),
            client_kwargs={"scope": " ".join(settings.scopes), "code_challenge_method": "S256"},
        )

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/oidc/start", self.start, methods=["GET"]),
            Route("/oidc/callback", self.callback, methods=["GET"], name="oidc-callback"),
        ]

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        request.session.clear()
        next_path = local_path(request.query_params.get("next"))
        try:
            response: Response = await self._client.authorize_redirect(request, str(request.url_for("oidc-callback")))
        except (httpx2.HTTPError, OAuthError, ValueError, KeyError, RuntimeError) as error:
            log.error("%s cannot be reached: %r", self._settings.issuer, error)
            return self._sign_in.page(request, next_path, FAILED, status=502)
        request.session["next"] = next_path
        return response

    async def callback(self, request: Request) -> Response:
        """Check the provider's response and begin a session."""
        next_path = local_path(request.session.get("next"))
        try:
            claims = await self._claims(request)
        except (httpx2.HTTPError, OAuthError, JoseError, ValueError, KeyError) as error:
            log.warning("sign-in through %s failed: %r", self._settings.issuer, error)
            request.session.clear()
            await self._sign_in.record(request, "sign-in refused", UNKNOWN_USER, by="oidc")
            return self._sign_in.page(request, next_path, FAILED, status=401)
        request.session.clear()
        user, subject = user_name(claims), str(claims["sub"])[:200]
        role = find_role(claims, self._settings)
        if role is None:
            await self._sign_in.record(request, "sign-in refused", user, by="oidc", subject=subject)
            return self._sign_in.page(request, next_path, REFUSED, status=403)
        version = provider_version(self._settings)
        return await self._sign_in.begin_session(request, user, role, "oidc", version, next_path, subject=subject)

    async def _claims(self, request: Request) -> Mapping[str, Any]:
        metadata = await self._client.load_server_metadata()
        if metadata.get("issuer") != self._settings.issuer:
            raise ValueError(f"the provider reports the issuer {metadata.get('issuer')!r}")
        token = await self._client.authorize_access_token(request)
        claims: Mapping[str, Any] | None = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise ValueError("the response has no identity token")
        return claims


def user_name(claims: Mapping[str, Any]) -> str:
    """Return the name of a provider's user. Its prefix keeps it apart from users of the file."""
    name = next((claims[key] for key in ("preferred_username", "email", "sub") if claims.get(key)), "")
    return "oidc:" + _NOT_IN_NAMES.sub("_", str(name))[:100]


def find_role(claims: Mapping[str, Any], settings: OidcSettings) -> Role | None:
    """Return the highest role of the claim's values, else the default role, else None."""
    claim = claims.get(settings.role_claim)
    values = claim if isinstance(claim, list) else [claim]
    roles = [settings.roles[value] for value in values if isinstance(value, str) and value in settings.roles]
    order = list(Role)
    return max(roles, key=order.index) if roles else settings.default_role
