"""Address, port and encryption of a server, and uvicorn on them."""

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from vestigo_models.errors import UsageError

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


def listen(binding: Binding) -> socket.socket:
    """Return a socket that listens on the address and port; raise UsageError if the port is not available."""
    try:
        family = socket.AF_INET6 if ":" in binding.address else socket.AF_INET
        return socket.create_server((binding.address, binding.port), family=family)
    except OSError as error:
        raise UsageError(
            f"port {binding.port} of {binding.address} is not available ({error.strerror}); choose another with --port"
        ) from error


def announce(binding: Binding, server: str, report: Callable[[str], None]) -> None:
    """Report where a server is, and whether other machines reach it."""
    if not binding.is_local:
        report(f"{binding.address} is reachable from other machines: any user with an account can sign in there")
    report(f"the {server} is on {binding.url} (Ctrl-C ends it)")


def run_server(app: ASGIApp, binding: Binding, listener: socket.socket, **options: Any) -> None:
    """Serve an app until it is interrupted; `options` are those of `uvicorn.Config`."""
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        ssl_certfile=binding.tls_cert,
        ssl_keyfile=binding.tls_key,
        proxy_headers=binding.proxies is not None,
        forwarded_allow_ips=binding.proxies or "",
        timeout_graceful_shutdown=SHUTDOWN_S,
        **options,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
