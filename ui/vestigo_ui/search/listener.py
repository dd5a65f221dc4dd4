"""Answer searches of this account's other processes on a Unix socket."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from vestigo.store.audit.records import login
from vestigo_models.devices import resolve_device
from vestigo_models.errors import StoreUnavailable, VestigoError, hide_credentials
from vestigo_models.progress import ProgressCallback
from vestigo_ui.search.client import AuditedSearch
from vestigo_ui.search.request import SearchRequest
from vestigo_ui.search.transfer import result_to_json
from vestigo_ui.search.warm import WarmSearch
from vestigo_ui.search.wire import (
    Disconnected,
    check_folder,
    encode,
    is_own_process,
    own_version,
    receive,
    send,
    socket_path,
    store_identity,
)

MAX_CONNECTIONS = 32
"""Clients at the same time. Others search by themselves."""
PROGRESS_INTERVAL_S = 0.2
SILENCE_S = 60.0
"""Seconds after which a client that neither sends nor reads is cut off."""
END_S = 5.0
"""Seconds that searches may take after the end of the server."""
log = logging.getLogger(__name__)


class Listener:
    """The socket of a store, and the threads that answer on it."""

    def __init__(self, warm: WarmSearch, listening: socket.socket) -> None:
        self._warm = warm
        self._socket = listening
        self._greeting = encode({"version": own_version(), "store": store_identity(warm.store.ref)})
        self._open: dict[threading.Thread, socket.socket] = {}
        self._changing = threading.Lock()
        self._closing, self._closed = socket.socketpair()
        self._accepting = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Stop accepting, wait a moment for the searches that run, and cut off the others."""
        self._closing.close()
        self._accepting.join()
        self._closed.close()
        until = time.monotonic() + END_S
        for thread in self._copy():
            thread.join(max(0.0, until - time.monotonic()))
        for connection in self._copy().values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _copy(self) -> dict[threading.Thread, socket.socket]:
        with self._changing:
            return dict(self._open)

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._closed], [], [])
            if self._closed in ready:
                return
            connection, _ = self._socket.accept()
            thread = threading.Thread(target=self._serve, args=(connection,), name="local search", daemon=True)
            with self._changing:
                is_full = len(self._open) >= MAX_CONNECTIONS
                if not is_full:
                    self._open[thread] = connection
            if is_full:
                connection.close()
            else:
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(SILENCE_S)
        with connection:
            try:
                if is_own_process(connection):
                    send(connection, self._greeting)
                    send(connection, self._answer(connection, receive(connection)))
            except (Disconnected, OSError, ValueError):
                # The client has disconnected, or does not keep to the protocol.
                pass
            finally:
                with self._changing:
                    self._open.pop(threading.current_thread())

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> bytes:
        """Return the last message to a client."""
        try:
            return self._search(connection, message)
        except (StoreUnavailable, DBAPIError) as error:
            return encode({"declined": f"the server of this store is not used: {hide_credentials(str(error))}"})
        except VestigoError as error:
            return encode({"error": str(error), "exit_status": error.exit_status})
        except (Disconnected, OSError):
            raise
        except Exception:
            log.exception("a search of this machine failed")
            return encode({"declined": ""})

    def _search(self, connection: socket.socket, message: dict[str, Any]) -> bytes:
        own = resolve_device(self._warm.device)
        if message["device"] not in ("auto", own):
            reason = f"the server of this store computes on {own}, not on {message['device']}: it is not used"
            return encode({"declined": reason})
        request = SearchRequest.from_json(message["search"])
        answer = self._warm.answer(request, lambda stage: _progress(connection, stage))
        if message["audited"] is None:
            return encode({"answer": {"result": result_to_json(answer.result)}})
        audited, store = AuditedSearch(**message["audited"]), self._warm.store
        page = None if audited.to_file is None else answer.page(store)
        reply = encode({"answer": {"json": answer.to_json(), "page": page}})
        # A disconnected client sees nothing, so nothing is recorded.
        send(connection, encode({"recording": True}))
        answer.record(store, login(), **vars(audited))
        return reply


@contextmanager
def listen_locally(warm: WarmSearch) -> Iterator[Path | None]:
    """Answer searches on the socket of a store during the block.

    Yields:
        The path of the socket; None if another server of this account has it.

    Raises:
        ConfigError: If the socket has no private place.
    """
    path = socket_path(warm.store.ref)
    check_folder(path)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # The lock ends with its process, so that a socket which is there now is left over.
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            path.chmod(0o600)
            listening.listen(MAX_CONNECTIONS)
            listener = Listener(warm, listening)
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)
                listener.close()
    finally:
        os.close(lock)


def _progress(connection: socket.socket, stage: str) -> ProgressCallback:
    """Return a callback that reports progress to a client, and raises Disconnected, which ends the search."""
    reported = 0.0

    def report(rows: int, _total: int | None) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= PROGRESS_INTERVAL_S:
            reported = now
            send(connection, encode({"progress": [stage, rows]}))

    return report
