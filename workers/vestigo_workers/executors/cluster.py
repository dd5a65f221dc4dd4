"""Join the Ray cluster that RAY_ADDRESS names, or start one for this process."""

import logging
import os
import re
import socket
from urllib.parse import urlsplit

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray.exceptions import AuthenticationError

from vestigo_models.errors import WorkError

ANSWER_S = 15.0
"""Seconds within which a cluster answers; Ray itself waits for ten minutes and longer."""
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""Preface and empty settings of a client of HTTP/2, which gRPC uses."""
_SETTINGS = 4
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")


def connect() -> bool:
    """Join the cluster that RAY_ADDRESS names, or start one for this process.

    Returns:
        True if this call connected, in which case the caller disconnects.

    Raises:
        WorkError: No cluster answers at the address, it runs other versions, or it refuses this process.
    """
    if ray.is_initialized():
        return False
    # "local" never joins a cluster that another process, perhaps a dead one, left on this machine.
    address = os.environ.get("RAY_ADDRESS") or "local"
    dashboard = False if address == "local" else None
    try:
        if address != "local":
            _require_answer(address)
        ray.init(address=address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
    except AuthenticationError:
        raise WorkError(
            f"the Ray cluster at RAY_ADDRESS={address} refuses this process: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN to its token"
        ) from None
    except OSError as error:
        raise WorkError(
            f"no Ray cluster answers at RAY_ADDRESS={address}: start one there (ray start --head), unset RAY_ADDRESS "
            "to run without it, or set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if it requires a token "
            f"({_line(error)})"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise WorkError(_problem(address, str(error))) from None
    return True


def _require_answer(address: str) -> None:
    """Raise OSError if no gRPC server answers at an address: HOST:PORT, ray://HOST:PORT or auto."""
    if "@" in address:
        place = address.rpartition("@")[2]
        raise WorkError(f"RAY_ADDRESS of {place} holds a user or token: leave it out, and set RAY_AUTH_TOKEN instead")
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if address != "auto" and (parts.hostname is None or port is None):
        raise WorkError(f"RAY_ADDRESS={address} is no address of a cluster: write HOST:6379, ray://HOST:10001 or auto")
    if not parts.scheme:
        # The cluster that runs here, or the last one that was started here and may have ended since. Ray replaces
        # 127.0.0.1 by an external address, on which the cluster may not listen.
        reached = canonicalize_bootstrap_address(address)
        if not reached:
            raise ConnectionError("none runs on this machine")
        parts = urlsplit(f"//{reached}")
    with socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
            return
        connection.sendall(_GREETING)
        header = connection.recv(9)
    if header[3:4] != bytes([_SETTINGS]):
        raise ConnectionError("another service listens there")


def _problem(address: str, message: str) -> str:
    versions = _VERSIONS.findall(message)
    if len(versions) == 2:
        there, here = (f"Ray {ray_version} with Python {python}" for ray_version, python in versions)
        return (
            f"the Ray cluster at RAY_ADDRESS={address} runs {there}, this process {here}: install the same versions "
            "in both places"
        )
    if "ray[client]" in message:
        return (
            f"RAY_ADDRESS={address} needs Ray's client: pip install 'ray[client]=={ray.__version__}', or run the "
            "command on a machine of the cluster with RAY_ADDRESS=auto"
        )
    return f"the Ray cluster at RAY_ADDRESS={address} cannot be joined: {_line(message)}"


def _line(message: object) -> str:
    return " ".join(str(message).split())[:300]
