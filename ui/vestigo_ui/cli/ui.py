"""`vestigo ui`: the screen."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import typer

from vestigo_ui.cli.console import StoreOption, note


def ui_command(
    store: StoreOption,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the page.")] = 8501,
    address: Annotated[str, typer.Option("--address", help="Address that the page is served on.")] = "127.0.0.1",
) -> None:
    """Serve the search page for a store: pick or upload a person, see ranked crops and the frames around them.

    Only this machine reaches the page unless another address is named. Ctrl-C ends it.

    Example: vestigo ui --store archive --port 8501
    """
    from vestigo.store import Store
    from vestigo_ui.app.launch import serve

    Store.open(store, create=False).close()
    if not _is_loopback(address):
        note(f"{address} is reached from other machines: whoever opens port {port} sees the whole archive")
    serve(store, address, port)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
