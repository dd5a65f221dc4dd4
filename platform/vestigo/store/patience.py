"""Repeat requests to servers that have a short outage, such as a restart."""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

R = TypeVar("R")
PATIENCE_S = 60.0
"""Seconds for which a request is repeated."""
_repeated: ContextVar[frozenset[str]] = ContextVar("repeated", default=frozenset())
"""Names of `describe` of the requests that this one is inside of."""
log = logging.getLogger(__name__)


def repeat(
    request: Callable[[], R], describe: Callable[[BaseException], str | None], patience: float = PATIENCE_S
) -> R:
    """Call `request`, and again with growing pauses while it fails by a short outage, which is logged in one line.

    Requests inside a request to the same kind of server are repeated with it and not by themselves.

    Args:
        request: Bears being carried out twice.
        describe: Function of a kind of server; returns what does not answer, None for an error that will not pass.
        patience: Seconds.

    Raises:
        Exception: The last error of `request`.
    """
    kind = describe.__qualname__
    if kind in _repeated.get():
        return request()
    token = _repeated.set(_repeated.get() | {kind})
    try:
        return _repeat(request, describe, patience)
    finally:
        _repeated.reset(token)


def _repeat(request: Callable[[], R], describe: Callable[[BaseException], str | None], patience: float) -> R:
    try:
        return request()
    except Exception as error:
        description = describe(error) if patience > 0 else None
        if description is None:
            raise
        log.warning("%s: trying again for %g s", description, patience)
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

    retrying = Retrying(
        retry=retry_if_exception(lambda error: describe(error) is not None),
        stop=stop_after_delay(patience),
        wait=wait_exponential(0.25, max=5),
        reraise=True,
    )
    return retrying(request)
