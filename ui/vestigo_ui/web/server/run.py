"""Serving the app: settings, users, the guard and Streamlit in one process of uvicorn."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from vestigo_models.errors import UsageError
from vestigo_ui.web import settings
from vestigo_ui.web.auth import identity
from vestigo_ui.web.auth.events import OnEvent
from vestigo_ui.web.auth.guard import Guard
from vestigo_ui.web.auth.oidc import Oidc, provider_name
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.sign_in import SignIn
from vestigo_ui.web.auth.users import Users
from vestigo_ui.web.server.headers import app_policy
from vestigo_ui.web.server.shell import Shell
from vestigo_ui.web.server.streamlit_options import options

SCRIPT = Path(__file__).parents[2] / "screen.py"
PING_S = 30
LEAVE_S = 5
"""How long an answer that is under way may take after Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Where the server listens, and how its connections are encrypted.

    `proxies` are the addresses or networks, joined by commas, whose `X-Forwarded-For` and `-Proto` are believed.
    """

    address: str = "127.0.0.1"
    port: int = 8501
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: str | None = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key belong together; give both")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise UsageError(f"{path} is not a file; --tls-cert and --tls-key name PEM files")
        for proxy in self.proxies.split(",") if self.proxies else ():
            try:
                ipaddress.ip_network(proxy.strip(), strict=False)
            except ValueError:
                raise UsageError(f"--behind-proxy {proxy.strip()!r} is no IP address or network") from None
        if not (self.is_local or self.tls_cert or self.proxies):
            raise UsageError(
                f"passwords would cross the network unencrypted on {self.address}; give --tls-cert and --tls-key, "
                "or --behind-proxy where a proxy ends TLS"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return self.address == "localhost"

    @property
    def url(self) -> str:
        """The address of the page."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http{'s' if self.tls_cert else ''}://{host}:{self.port}"


def entrance(sessions: Sessions, chosen: settings.Settings, on_event: OnEvent, encrypted: bool) -> ASGIApp:
    """Return the app of the open paths: signing in and out, and the sign of life."""
    sign_in = SignIn(sessions, on_event, None if chosen.oidc is None else provider_name(chosen.oidc))
    routes = [Route("/healthz", _healthz, methods=["GET"]), *sign_in.routes()]
    middleware = []
    if chosen.oidc is not None:
        routes += Oidc(chosen.oidc, sign_in).routes()
        between = Middleware(
            SessionMiddleware,
            secret_key=sessions.key,
            session_cookie=f"{sessions.cookie}_oidc",
            path="/oidc",
            max_age=600,
            same_site="lax",
            https_only=encrypted,
        )
        middleware.append(between)
    return Starlette(routes=routes, middleware=middleware)


async def _healthz(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def guarded(binding: Binding, users: Users, chosen: settings.Settings, on_event: OnEvent) -> Guard:
    """Return Streamlit's app behind the guard, and make settings and sessions those of this process.

    Raises:
        ConfigError: the users file, the key or a secret cannot be used.
        UsageError: nobody could sign in.
    """
    if not users.accounts() and chosen.oidc is None:
        raise UsageError(
            f"nobody can sign in yet ({users.path} names no user): `vestigo ui user add NAME --role admin`"
        )
    sessions = Sessions(users, chosen)
    door = entrance(sessions, chosen, on_event, encrypted=binding.tls_cert is not None)
    settings.use(chosen)
    identity.use(sessions)

    from streamlit import file_util
    from streamlit.starlette import App
    from streamlit.web.bootstrap import load_config_options

    load_config_options(options(binding.address, binding.port))
    app = Shell(App(SCRIPT), Path(file_util.get_static_dir()))
    return Guard(app, door, sessions, app_policy(app.scripts))


def serve(
    store: str,
    binding: Binding,
    users: Users,
    chosen: settings.Settings,
    *,
    on_event: OnEvent,
    say: Callable[[str], None],
) -> None:
    """Serve the app for one store until it is interrupted; `say` is told where, once it listens.

    Raises:
        UsageError: the address cannot be listened on, or nobody could sign in.
    """
    os.environ["VESTIGO_STORE"] = store
    app = guarded(binding, users, chosen, on_event)
    logging.basicConfig(format="vestigo: %(message)s", level=logging.WARNING)
    with _listening(binding) as listener:
        if not binding.is_local:
            say(f"{binding.address} is reached from other machines: whoever has an account can sign in there")
        say(f"the screen is on {binding.url} (Ctrl-C ends it)")
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            # As Streamlit runs itself: its messages are large and mostly pictures, which compress to nothing.
            ws="websockets-sansio",
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,
            ssl_certfile=binding.tls_cert,
            ssl_keyfile=binding.tls_key,
            proxy_headers=binding.proxies is not None,
            forwarded_allow_ips=binding.proxies or "",
            timeout_graceful_shutdown=LEAVE_S,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listening(binding: Binding) -> socket.socket:
    family = socket.AF_INET6 if ":" in binding.address else socket.AF_INET
    try:
        return socket.create_server((binding.address, binding.port), family=family)
    except OSError as error:
        raise UsageError(
            f"port {binding.port} of {binding.address} cannot be listened on ({error.strerror}); name another: --port"
        ) from error
