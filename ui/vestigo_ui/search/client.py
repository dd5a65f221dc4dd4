"""Search through a running `vestigo serve` of this account and machine; neither torch nor the store is loaded."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vestigo_models.errors import UsageError, WorkError
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_ui.search.request import SearchRequest
from vestigo_ui.search.wire import (
    Disconnected,
    encode,
    is_own_process,
    is_private,
    own_version,
    receive,
    send,
    socket_path,
    store_identity,
)

if TYPE_CHECKING:
    from vestigo.retrieval.search import SearchResult
    from vestigo_ui.search.answer import SearchJson

GREETING_S = 2.0
"""Seconds to wait for the greeting of a server, which it sends at once."""
LOST = (
    "the server of this store ended while it recorded the search in the audit log; nothing was shown, run the command "
    "again"
)


@dataclass(frozen=True, kw_only=True)
class AuditedSearch:
    """What the server records before it answers: the grounds, and the file that the result is written to."""

    case: str | None = None
    authority: str | None = None
    to_file: str | None = None


def request_search(
    store: str, request: SearchRequest, audited: AuditedSearch, *, device: str, report: Callable[[str], object]
) -> tuple[SearchJson, str | None] | None:
    """Return the JSON of a search, and its page if it is written to a file; None if no server answers.

    The server records the search under the name of this account. `report` is given a line if a server runs and does
    not fit.

    Raises:
        UsageError: As `vestigo_ui.search.warm.WarmSearch.answer`, with its message.
        WorkError: As it, or if the server ended while it recorded the search.
    """
    message = {"search": request.to_json(), "audited": vars(audited), "device": device}
    answer = _request(store, message, report, ignore_stages)
    return None if answer is None else (answer["json"], answer["page"])


def request_result(
    store: str, request: SearchRequest, *, report: Callable[[str], object], progress: OpenProgress
) -> SearchResult | None:
    """Return the result of a search that the caller records itself; None if no server answers.

    `progress` shows the stages of the search. Raises as `request_search`.
    """
    answer = _request(store, {"search": request.to_json(), "audited": None, "device": "auto"}, report, progress)
    if answer is None:
        return None
    from vestigo_ui.search.transfer import result_from_json

    return result_from_json(answer["result"])


def _request(
    store: str, message: dict[str, Any], report: Callable[[str], object], progress: OpenProgress
) -> dict[str, Any] | None:
    with _connected(store, report) as connection:
        if connection is None:
            return None
        try:
            send(connection, encode(message))
        except (Disconnected, ValueError):
            return None
        return _wait(connection, report, progress)


def _wait(connection: socket.socket, report: Callable[[str], object], progress: OpenProgress) -> dict[str, Any] | None:
    """Return the answer to the request that was sent, None if the caller has to search by itself."""
    is_recording = False
    while True:
        try:
            message = receive(connection)
        except (Disconnected, ValueError):
            if is_recording:
                raise WorkError(LOST) from None
            return None
        match message:
            case {"progress": [str(stage), int(rows)]}:
                progress(stage)(rows, None)
            case {"recording": True}:
                is_recording = True
            case {"answer": dict(answer)}:
                return answer
            case {"error": str(text), "exit_status": status}:
                raise UsageError(text) if status == UsageError.exit_status else WorkError(text)
            case {"declined": str(reason)}:
                if reason:
                    report(reason)
                return None


@contextmanager
def _connected(store: str, report: Callable[[str], object]) -> Iterator[socket.socket | None]:
    """Yield a connection to a server that fits, None if there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            fits = _connect(connection, store, report)
        except (OSError, Disconnected, ValueError):
            # There is no server, its socket is left over, or it hangs.
            fits = False
        yield connection if fits else None


def _connect(connection: socket.socket, store: str, report: Callable[[str], object]) -> bool:
    """Connect to the server of a store, and return whether it fits."""
    path = socket_path(store)
    # Another account's server could forge answers.
    if not is_private(path.parent):
        return False
    connection.settimeout(GREETING_S)
    connection.connect(str(path))
    if not is_own_process(connection):
        return False
    greeting = receive(connection)
    connection.settimeout(None)
    if (other := greeting.get("version")) != (own := own_version()):
        report(f"the server of this store runs Vestigo {other}, and this is {own}: it is not used; restart it")
        return False
    if greeting.get("store") != store_identity(store):
        report("the server serves a store that was at this path before: it is not used; restart it")
        return False
    return True
