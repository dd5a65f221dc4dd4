"""The Unix socket between processes of one account on one machine: its place, its messages, and who is on it.

A server greets with its version and its store. A client that fits sends one request; the server sends progress, an
announcement before it commits the audit entry, and the answer or an error. Each message is JSON after its length.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vestigo_models.errors import ConfigError

MAX_MESSAGE = 64 * 2**20
"""Bytes of one message. A client with larger images searches by itself."""
MAX_PATH = 100
"""Bytes of a socket's path; systems allow 104 or 108 with its end."""
_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")
_CATALOGUE = "catalogue.sqlite"


class Disconnected(Exception):  # noqa: N818  (it names what happened, and is no fault)
    """The other side has closed the connection."""


def own_version() -> str:
    """Return the version of this program; a checkout that is not installed has none."""
    try:
        return version("vestigo")
    except PackageNotFoundError:
        return "checkout"


def absolute_ref(store: str) -> str:
    """Return a reference to a store by which all processes of this machine know it."""
    return os.path.realpath(Path(store).expanduser())


def socket_path(store: str) -> Path:
    """Return the path of the socket for a store, in a folder of this account's cache.

    It is not in the store's folder, which may be shared with other accounts and machines, copied or packed.
    """
    digest = hashlib.sha256(absolute_ref(store).encode()).hexdigest()[:20]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vestigo" / "serve" / f"{digest}.sock"


def check_folder(path: Path) -> None:
    """Make the folder of a socket; raise ConfigError if other accounts could reach the socket, or it has no place."""
    if len(os.fsencode(path)) > MAX_PATH:
        raise ConfigError(f"{path} is too long for a socket; name a shorter XDG_CACHE_HOME")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be made: {error.strerror}") from error
    if not is_private(path.parent):
        raise ConfigError(f"{path.parent} is accessible to other users; run: chmod 700 {path.parent}")


def is_private(folder: Path) -> bool:
    """Return whether a folder belongs to this account and no other account has access to it."""
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o077


def store_identity(store: str) -> str:
    """Return what tells a store from another one at the same path; raises OSError if there is none."""
    path = Path(absolute_ref(store))
    if path.is_dir():
        status = (path / _CATALOGUE).stat()
        return f"{status.st_dev}:{status.st_ino}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_own_process(connection: socket.socket) -> bool:
    """Return whether a process of this account is on the other side, where the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, user, _group = _CREDENTIALS.unpack(credentials)
    return bool(user == os.getuid())


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as it is sent; raise ValueError if it is larger than `MAX_MESSAGE`."""
    data = json.dumps(message).encode()
    if len(data) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(data):,} bytes, more than {MAX_MESSAGE:,}")
    return _LENGTH.pack(len(data)) + data


def send(connection: socket.socket, data: bytes) -> None:
    """Send an encoded message; raise Disconnected if the other side has closed the connection."""
    try:
        connection.sendall(data)
    except ConnectionError as error:
        raise Disconnected from error


def receive(connection: socket.socket) -> dict[str, Any]:
    """Return the next message; raises Disconnected, ValueError for what is none, and TimeoutError."""
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size))
    if length > MAX_MESSAGE:
        raise ValueError(f"a message of {length:,} bytes, more than {MAX_MESSAGE:,}")
    message: dict[str, Any] = json.loads(_read(connection, length))
    return message


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            part = connection.recv(min(size - len(data), 1 << 20))
        except ConnectionError as error:
            raise Disconnected from error
        if not part:
            raise Disconnected
        data += part
    return bytes(data)
