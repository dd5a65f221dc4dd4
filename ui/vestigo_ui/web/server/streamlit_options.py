"""How Streamlit runs behind the guard: silent towards the outside, in the project's colours."""

from __future__ import annotations

from vestigo_ui.web.theme import DARK, LIGHT

MAX_UPLOAD_MB = 20


def options(address: str, port: int) -> dict[str, str | int | bool]:
    """Return Streamlit's settings, which stand above those of any configuration file of its own.

    Errors of ours are shown by the page; a traceback, which may name paths, stays in the terminal. What is taken away
    from a table goes through the page's own downloads, which the audit log hears of.
    """
    return {
        "server.address": address,
        "server.port": port,
        "server.baseUrlPath": "",
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "browser.gatherUsageStats": False,
        "client.disableDataExport": True,
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "client.toolbarMode": "minimal",
        "logger.level": "warning",
        "theme.baseRadius": "0.5rem",
        **{f"theme.light.{key}": value for key, value in LIGHT.items()},
        **{f"theme.dark.{key}": value for key, value in DARK.items()},
    }
