"""Serve the app: settings, users, the guard and Streamlit in one uvicorn process."""

import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from vestigo_models.errors import UsageError
from vestigo_ui.web.auth.guard import Guard
from vestigo_ui.web.auth.identity import use_sessions
from vestigo_ui.web.auth.oidc import Oidc
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.sign_in import OnEvent, SignIn
from vestigo_ui.web.auth.users import Users
from vestigo_ui.web.server.headers import app_policy
from vestigo_ui.web.server.shell import Shell, make_options
from vestigo_ui.web.settings import Settings, use_settings

SCRIPT = Path(__file__).parents[2] / "screen.py"
PING_S = 30
SHUTDOWN_S = 5
"""Seconds that open requests may take after Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Address, port and encryption of the server."""

    address: str = "127.0.0.1"
    port: int = 8501
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: str | None = None  # addresses or networks, joined by commas, whose X-Forwarded headers are trusted

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
                raise UsageError(f"--behind-proxy {proxy.strip()!r} is not an IP address or network") from None
        if not (self.is_local or self.tls_cert or self.proxies):
            raise UsageError(
                f"passwords would cross the network unencrypted on {self.address}; give --tls-cert and --tls-key, "
                "or --behind-proxy if a proxy ends TLS"
            )

    @property
    def is_local(self) -> bool:
        """Whether the address is a loopback address."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return self.address == "localhost"

    @property
    def url(self) -> str:
        """The address of the page."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http{'s' if self.tls_cert else ''}://{host}:{self.port}"


def make_public_app(sessions: Sessions, settings: Settings, on_event: OnEvent, encrypted: bool) -> ASGIApp:
    """Return the app of the public paths; raise ConfigError if the secret of the OpenID client cannot be read."""
    sign_in = SignIn(sessions, on_event, urlsplit(settings.oidc.issuer).netloc if settings.oidc else None)
    routes = [Route("/healthz", lambda _: PlainTextResponse("ok"), methods=["GET"]), *sign_in.routes()]
    middleware = []
    if settings.oidc is not None:
        routes += Oidc(settings.oidc, sign_in).routes()
        session_middleware = Middleware(
            SessionMiddleware,
            secret_key=sessions.key,
            session_cookie=f"{sessions.cookie}_oidc",
            path="/oidc",
            max_age=600,
            same_site="lax",
            https_only=encrypted,
        )
        middleware.append(session_middleware)
    return Starlette(routes=routes, middleware=middleware)


def make_app(binding: Binding, users: Users, settings: Settings, on_event: OnEvent) -> Guard:
    """Return Streamlit's app behind the guard, and set the settings and sessions of this process.

    Raises:
        ConfigError: If the users file, the key or a secret cannot be used.
        UsageError: If there is no user and no OpenID provider.
    """
    if not users.accounts() and settings.oidc is None:
        raise UsageError(f"{users.path} has no user who could sign in; run `vestigo ui user add NAME --role admin`")
    sessions = Sessions(users, settings)
    public_app = make_public_app(sessions, settings, on_event, encrypted=binding.tls_cert is not None)
    use_settings(settings)
    use_sessions(sessions)

    from streamlit import file_util
    from streamlit.starlette import App
    from streamlit.web.bootstrap import load_config_options

    load_config_options(make_options(binding.address, binding.port))
    app = Shell(App(SCRIPT), Path(file_util.get_static_dir()))
    return Guard(app, public_app, sessions, app_policy(app.scripts))


def serve(
    store: str, binding: Binding, users: Users, settings: Settings, *, on_event: OnEvent, report: Callable[[str], None]
) -> None:
    """Serve the app until it is interrupted; raises as `make_app`, and UsageError if the port is not available."""
    os.environ["VESTIGO_STORE"] = store
    app = make_app(binding, users, settings, on_event)
    logging.basicConfig(format="vestigo: %(message)s", level=logging.WARNING)
    try:
        family = socket.AF_INET6 if ":" in binding.address else socket.AF_INET
        listener = socket.create_server((binding.address, binding.port), family=family)
    except OSError as error:
        raise UsageError(
            f"port {binding.port} of {binding.address} is not available ({error.strerror}); choose another with --port"
        ) from error
    with listener:
        if not binding.is_local:
            report(f"{binding.address} is reachable from other machines: any user with an account can sign in there")
        report(f"the screen is on {binding.url} (Ctrl-C ends it)")
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            # As in Streamlit's own server. Its messages are mostly images, which do not compress.
            ws="websockets-sansio",
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,
            ssl_certfile=binding.tls_cert,
            ssl_keyfile=binding.tls_key,
            proxy_headers=binding.proxies is not None,
            forwarded_allow_ips=binding.proxies or "",
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
