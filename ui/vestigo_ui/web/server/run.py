"""Serve the app: settings, users, the guard and Streamlit in one uvicorn process."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from vestigo_ui.web.auth.guard import Guard
from vestigo_ui.web.auth.identity import use_sessions
from vestigo_ui.web.auth.oidc import Oidc
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.sign_in import OnEvent, SignIn, require_users
from vestigo_ui.web.auth.users import Users
from vestigo_ui.web.server.binding import Binding, announce, listen, run_server
from vestigo_ui.web.server.headers import app_policy
from vestigo_ui.web.server.shell import Shell, make_options
from vestigo_ui.web.settings import Settings, use_settings

SCRIPT = Path(__file__).parents[2] / "screen.py"
PING_S = 30


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
    require_users(users, settings)
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
    with listen(binding) as listener:
        announce(binding, "screen", report)
        run_server(
            app,
            binding,
            listener,
            # As in Streamlit's own server. Its messages are mostly images, which do not compress.
            ws="websockets-sansio",
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,
        )
