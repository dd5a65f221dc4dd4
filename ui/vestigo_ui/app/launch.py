"""Starting Streamlit with the app: bound to loopback, silent towards the outside, in the project's colours."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).with_name("page.py")
MAX_UPLOAD_MB = 20

_LIGHT = {
    "primaryColor": "#0f766e",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f5f5",
    "textColor": "#1c2826",
    "borderColor": "#d9e0df",
}
_DARK = {
    "primaryColor": "#2dd4bf",
    "backgroundColor": "#101716",
    "secondaryBackgroundColor": "#1a2423",
    "textColor": "#e6eceb",
    "borderColor": "#2c3a38",
}


def options(address: str, port: int) -> dict[str, str | int | bool]:
    """Return Streamlit's settings; `port` 0 lets the system choose none, so a port is always named.

    Errors of ours are shown by the page; a traceback, which may name paths, stays in the terminal.
    """
    return {
        "server.address": address,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "server.enableXsrfProtection": True,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        "theme.baseRadius": "0.5rem",
        **{f"theme.light.{key}": value for key, value in _LIGHT.items()},
        **{f"theme.dark.{key}": value for key, value in _DARK.items()},
    }


def arguments(address: str, port: int) -> list[str]:
    """Return the arguments of the `streamlit` program that start the app."""
    flags = (f"--{key}={str(value).lower()}" for key, value in options(address, port).items())
    return ["run", str(PAGE), *flags]


def serve(store: str, address: str, port: int) -> None:
    """Serve the app for one store until it is interrupted."""
    import os

    from streamlit.web.cli import main as streamlit

    os.environ["VESTIGO_STORE"] = store
    streamlit(arguments(address, port), prog_name="streamlit", standalone_mode=False)
