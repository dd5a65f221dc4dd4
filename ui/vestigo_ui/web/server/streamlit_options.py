"""Options of Streamlit behind the guard, and the colours of its pages and of the sign-in pages."""

MAX_UPLOAD_MB = 20
LIGHT = {
    "primaryColor": "#0f766e",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f5f5",
    "textColor": "#1c2826",
    "borderColor": "#d9e0df",
}
DARK = {
    "primaryColor": "#2dd4bf",
    "backgroundColor": "#101716",
    "secondaryBackgroundColor": "#1a2423",
    "textColor": "#e6eceb",
    "borderColor": "#2c3a38",
}


def make_options(address: str, port: int) -> dict[str, str | int | bool]:
    """Return Streamlit's options, which override its configuration files.

    Tracebacks may contain paths and stay in the terminal. Tables are exported only by the audited downloads of a page.
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
