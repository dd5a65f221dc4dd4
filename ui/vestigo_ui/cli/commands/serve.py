"""`vestigo serve`: keep a model loaded and answer searches."""

from typing import Annotated

import typer
from typer import Option, Typer

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import note

app = Typer(invoke_without_command=True, subcommand_metavar="")


@app.callback()
def serve_command(
    context: typer.Context,
    store: opts.StoreOption = "",
    port: Annotated[int, Option(min=1, max=65535, help="Port of the server.")] = 8502,
    address: Annotated[str, Option("--address", "--host", help="Address that the server listens on.")] = "127.0.0.1",
    users: opts.UsersOption = None,
    config: opts.SettingsOption = None,
    tls_cert: opts.TlsCertOption = None,
    tls_key: opts.TlsKeyOption = None,
    behind_proxy: opts.ProxyOption = None,
    device: opts.DeviceOption = "auto",
) -> None:
    """Keep a store's model loaded and answer searches over HTTP and for `vestigo search`.

    `vestigo search` and the screen of the same account and machine use the server by themselves. Over HTTP the users of
    `vestigo ui` sign in, and each search is recorded under their names; /v1/openapi.json describes the requests. The
    server is reachable from this machine only, unless another address is given. Ctrl-C ends it.

    Example: vestigo serve --store archive --port 8502
    """
    if not store:
        raise typer.BadParameter("name the store to serve", ctx=context, param_hint="'--store' / '-s'")

    from vestigo_ui.web.api.run import serve_searches
    from vestigo_ui.web.auth.sign_in import audit_events, audit_user_changes
    from vestigo_ui.web.auth.users import Users, users_path
    from vestigo_ui.web.server.binding import Binding
    from vestigo_ui.web.settings import load_settings

    binding = Binding(address=address, port=port, tls_cert=tls_cert, tls_key=tls_key, proxies=behind_proxy)
    with opts.open_store(store) as opened:
        settings, accounts = load_settings(config), Users(users_path(users))
        audit_user_changes(opened, accounts)
        on_event = audit_events(opened, accounts)
        serve_searches(opened, binding, accounts, settings, device=device, on_event=on_event, report=note)
