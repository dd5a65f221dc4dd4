"""`vestigo ui`: the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vestigo_ui.cli.commands import ui__ui_users as ui_users
from vestigo_ui.cli.commands.ui__ui_users import UsersOption
from vestigo_ui.cli.output import StoreOption, note

app = typer.Typer(invoke_without_command=True, subcommand_metavar="[user ...]")
app.add_typer(ui_users.user_app, name="user")


@app.callback()
def ui_command(
    context: typer.Context,
    store: StoreOption = "",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the page.")] = 8501,
    address: Annotated[str, typer.Option("--address", help="Address that the page is served on.")] = "127.0.0.1",
    users: UsersOption = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="VESTIGO_UI_CONFIG",
            help="Settings file; without it vestigo/ui.toml in $XDG_CONFIG_HOME or ~/.config, where there is one.",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate (PEM) to serve https with.", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Key (PEM) of that certificate.", show_default=False)
    ] = None,
    behind_proxy: Annotated[
        str | None,
        typer.Option(
            "--behind-proxy",
            envvar="VESTIGO_UI_PROXY",
            help="A proxy ends TLS before this server: its address (or network, or several with commas between), "
            "which alone is believed about whom it speaks for.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the screen for a store: search, look, review, and see how the archive and its models are doing.

    Everybody signs in: `vestigo ui user add` says who may, or an OpenID provider does (docs/sign-in.md).
    Only this machine reaches the page unless another address is named. Ctrl-C ends it.

    Example: vestigo ui --store archive --port 8501
    """
    if context.invoked_subcommand is not None:
        return
    if not store:
        raise typer.BadParameter("name the store to serve", ctx=context, param_hint="'--store' / '-s'")

    from vestigo.store.open import Store
    from vestigo_ui.web import settings
    from vestigo_ui.web.auth.events import audited
    from vestigo_ui.web.auth.users import Users, users_path
    from vestigo_ui.web.server.run import Binding, serve

    binding = Binding(address=address, port=port, tls_cert=tls_cert, tls_key=tls_key, proxies=behind_proxy)
    with Store.open(store, create=False) as opened:
        file, chosen = Users(users_path(users)), settings.load(config)
        serve(store, binding, file, chosen, on_event=audited(opened), say=note)
