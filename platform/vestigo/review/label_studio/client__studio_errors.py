"""Requests to Label Studio that outlive a bad network, and errors in one line that hold no token.

A request whose answer is lost may have been carried out. So whoever makes a request that must not be carried out twice
looks first what became of it, each time that it is tried.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from json import JSONDecodeError
from typing import Any, TypeVar

import httpx
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.parse_error import ParsingError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

from vestigo_models.errors import ConfigError, VestigoError, WorkError

T = TypeVar("T")
log = logging.getLogger(__name__)
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""States of HTTP that may be others a moment later."""
LONGEST_WAIT = 8.0
LINE = 200


class Unanswered(WorkError):
    """No answer, or one that says "later"; the request may have been carried out."""


class Gone(ConfigError):
    """What the request was about is not on the server."""


class Caller:
    """Makes requests and tries again, waiting ever longer, until `patience` seconds are over."""

    def __init__(self, server: str, token: str, patience: float) -> None:
        self._server = server
        self._token = token
        self._patience = patience

    def once(self, request: Callable[[], T]) -> T:
        """Make a request. Raises Unanswered, Gone (404), or ConfigError for what no second try would change."""
        answer: T | None = None
        error: VestigoError | None = None
        try:
            answer = request()
        except httpx.HTTPError as failure:
            error = Unanswered(f"{type(failure).__name__}: {self._line(str(failure))}")
        except ApiError as failure:
            error = self._refusal(failure.status_code, failure.body)
        except (ParsingError, JSONDecodeError):
            error = self._stranger()
        # Raised out here, so that the other error, which knows the request and its headers, is not chained to it.
        if error is not None:
            raise error
        return answer  # type: ignore[return-value]

    def __call__(self, request: Callable[[], T]) -> T:
        """Make a request until it is answered. Raises as `once`, and WorkError when patience is over.

        `request` may look with requests of its own what became of the try before; those are patient by themselves.
        """
        trying = Retrying(
            retry=retry_if_exception_type(Unanswered),
            wait=wait_exponential(multiplier=0.25, max=LONGEST_WAIT) + wait_random(0, 0.25),
            stop=stop_after_delay(self._patience),
            before_sleep=self._note,
            retry_error_callback=self._last,
        )
        last: Unanswered | T = trying(self.once, request)
        if isinstance(last, Unanswered):
            raise WorkError(
                f"server {self._server} does not answer ({last}), tried for {self._patience:g} seconds; "
                "what was sent is kept, the same command goes on"
            )
        return last

    def _note(self, state: RetryCallState) -> None:
        log.info("server %s: %s; trying again", self._server, self._last(state))

    @staticmethod
    def _last(state: RetryCallState) -> Any:
        return None if state.outcome is None else state.outcome.exception()

    def _refusal(self, status: int | None, body: Any) -> VestigoError:
        said = self._line(_detail(body))
        if status in PASSING:
            return Unanswered(f"HTTP {status}")
        if status == 401:
            return ConfigError(
                f"server {self._server} refuses the token (401: {said}): copy a valid one from Account & Settings "
                "there into LABEL_STUDIO_API_KEY or --token-file; a legacy token must be allowed by the organization"
            )
        if status == 403:
            return ConfigError(f"server {self._server}: the token's user may not do this (403: {said}): use an owner's")
        if status == 404:
            return Gone(f"server {self._server} does not have it (404: {said})")
        if status == 413:
            return ConfigError(
                f"server {self._server} takes no request of this size (413): keep pictures out of the tasks "
                "(--images local:ROOT or s3://BUCKET/PREFIX), or raise the limit of the web server before it"
            )
        if status is not None and status < 400:
            return self._stranger()
        return ConfigError(f"server {self._server} refuses the request ({status}: {said})")

    def _stranger(self) -> ConfigError:
        return ConfigError(
            f"server {self._server} answers and is no Label Studio: name the address under which Label Studio opens in "
            "a browser (--url, LABEL_STUDIO_URL)"
        )

    def _line(self, text: str) -> str:
        """The beginning of what another said, in one line and without the token."""
        line = " ".join(text.replace(self._token, "***").split())
        return line if len(line) <= LINE else f"{line[:LINE]}..."


def _detail(body: Any) -> str:
    """What is told in the body of Label Studio's refusals."""
    if isinstance(body, dict):
        details = body.get("validation_errors") or body.get("detail") or body
        return details if isinstance(details, str) else json.dumps(details, default=str)
    return str(body)
