"""A TCP proxy in front of a server that can be cut off, as a server that restarts is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class TcpProxy:
    """Forwards connections to `target`; while it is cut off, there is no connection and none is accepted.

    Message number `last` of those that clients have `sent` ends its connection: it is not sent on, or with
    `lose_answer` it is and the answer is lost.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self.sent: list[bytes] = []
        self.last: int | None = None
        self.lose_answer = False
        self._open: list[socket.socket] = []
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def cut(self) -> None:
        """Close every connection, and refuse new ones."""
        for end in (self._listener, *self._open):
            # A thread that waits for a socket does not notice that it is closed.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def restore(self) -> None:
        """Accept connections again."""
        self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(self._target)
                self._open += [client, server]
                threading.Thread(target=self._send, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                self.sent.append(data)
                is_last = len(self.sent) == self.last
                if is_last:
                    client.shutdown(socket.SHUT_RDWR)
                if not is_last or self.lose_answer:
                    server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)


@contextmanager
def tcp_proxy(host: str, port: int) -> Iterator[TcpProxy]:
    """Run a proxy in front of a server for the block."""
    proxy = TcpProxy((host, port))
    try:
        yield proxy
    finally:
        proxy.cut()
