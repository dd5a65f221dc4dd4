"""Serve searches: over HTTP, and on a socket for the processes of this account."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack

from vestigo.store.open import Store
from vestigo_models.errors import ConfigError, ModelError, StoreError
from vestigo_ui.search.listener import listen_locally
from vestigo_ui.search.warm import WarmSearch
from vestigo_ui.web.api.app import make_api
from vestigo_ui.web.auth.sessions import Sessions
from vestigo_ui.web.auth.sign_in import OnEvent, require_users
from vestigo_ui.web.auth.users import Users
from vestigo_ui.web.server.binding import Binding, announce, listen, run_server
from vestigo_ui.web.settings import Settings

PATIENCE_S = 3.0
"""Seconds for which a request waits for a database that stopped answering; then it says so."""


def serve_searches(
    store: Store,
    binding: Binding,
    users: Users,
    settings: Settings,
    *,
    device: str,
    on_event: OnEvent,
    report: Callable[[str], None],
) -> None:
    """Serve searches of a store until this process is interrupted or terminated.

    Raises:
        ConfigError: If the users file or the key cannot be used.
        UsageError: If the port is not available, or other machines reach the server and no user could sign in.
    """
    if not binding.is_local:
        require_users(users, settings)
    elif not users.accounts() and settings.oidc is None:
        report(f"no user can sign in over HTTP, as {users.path} has none; run `vestigo ui user add NAME --role viewer`")
    logging.basicConfig(format="vestigo: %(message)s", level=logging.WARNING)
    store.database.patience = PATIENCE_S
    warm = WarmSearch(store, device)
    try:
        warm.load()
    except (StoreError, ModelError) as error:
        # Nothing is indexed yet, or each search has to name the model.
        report(f"no model is loaded yet: {error}")
    api = make_api(warm, Sessions(users, settings), settings, on_event)
    with listen(binding) as listener, ExitStack() as stack:
        try:
            path = stack.enter_context(listen_locally(warm))
        except ConfigError as error:
            report(f"`vestigo search` and the screen of this account do not use this server: {error}")
        else:
            use = "use this server" if path else "use another server of this store, which was there before"
            report(f"`vestigo search` and the screen of this account {use}")
        announce(binding, "server", report)
        # Without a handler, SIGTERM would end the process before its socket is removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        run_server(api, binding, listener, ws="none")
