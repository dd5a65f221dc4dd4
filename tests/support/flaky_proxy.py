"""A proxy between a client and an HTTP server that does what bad networks do: loses, repeats, delays, reorders.

Every request draws its fate from a seeded generator. A lost answer belongs to a request that the server has carried
out; a repeated request comes a second time, sometimes much later, after others that were sent behind it.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

LOST_ANSWER, LOST_REQUEST, REFUSED, REPEATED, DELAYED = 0.30, 0.05, 0.05, 0.15, 0.10
LATE = 2.0
"""Seconds by which a repeated request comes at most late."""


class FlakyProxy:
    """Forwards to `target`; `url` is where clients come to, `fates` counts what befell their requests.

    While it is `away`, it refuses all of them; once it is `calm`, it passes them.
    """

    def __init__(self, target: str, seed: int) -> None:
        self._host = urlsplit(target).netloc
        self._rng = Random(seed)
        self._lock = threading.Lock()
        self._late: list[threading.Thread] = []
        self.fates: Counter[str] = Counter()
        self.calm = self.away = False
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def wait_for_late(self) -> None:
        """Wait until all requests have arrived that were sent until now."""
        while self._late:
            self._late.pop().join()

    def settle(self) -> None:
        """Wait until all late requests have arrived, and lose nothing from here on."""
        self.calm = True
        self.wait_for_late()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Forward a request, or not, and bring its answer back, or not."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            fate = "refused" if self.away else "passed" if self.calm else self._fate()
            late = self._rng.random() * LATE
            self.fates[fate] += 1
        request.close_connection = True
        if fate == "lost request":
            return
        if fate == "refused":
            request.send_error(503)
            return
        if fate == "delayed":
            time.sleep(late / 4)
        status, headers, content = self._forward(request, body)
        if fate == "repeated":
            thread = threading.Thread(target=lambda: (time.sleep(late), self._forward(request, body)))
            self._late.append(thread)
            thread.start()
        if fate == "lost answer":
            return
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        try:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _fate(self) -> str:
        chance = self._rng.random()
        for name, share in (
            ("lost answer", LOST_ANSWER),
            ("lost request", LOST_REQUEST),
            ("refused", REFUSED),
            ("repeated", REPEATED),
            ("delayed", DELAYED),
        ):
            if chance < share:
                return name
            chance -= share
        return "passed"


@contextmanager
def flaky_proxy(target: str, seed: int) -> Iterator[FlakyProxy]:
    """Run a proxy in front of a server for the block."""
    proxy = FlakyProxy(target, seed)
    thread = threading.Thread(target=proxy.server.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.settle()
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()
