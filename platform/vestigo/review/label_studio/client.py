"""A Label Studio server: how it is reached, with which token, and whether it is one that can be worked with."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Callable
from json import JSONDecodeError
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.parse_error import ParsingError
from packaging.version import InvalidVersion, Version
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


OLDEST = Version("1.22")
"""The oldest server whose listing leaves pictures out."""
PATIENCE = 60.0
URL_VARIABLE = "LABEL_STUDIO_URL"
TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"
TIMEOUT = httpx.Timeout(60.0, connect=10.0)


def read_token(file: Path | None) -> str:
    """Return the token that `file` holds, or without a file the environment (`LABEL_STUDIO_API_KEY`).

    Raises ConfigError where there is none, where others can read the file, or where it is no token.
    """
    if file is None:
        token, origin = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
        if not token.strip():
            raise ConfigError(f"no token for Label Studio: set {TOKEN_VARIABLE}, or name a file with --token-file")
    else:
        origin = str(file)
        try:
            mode = file.stat().st_mode
            token = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"token file {file} cannot be read: {getattr(error, 'strerror', 'it is no text')}"
            ) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"token file {file} is open to others (mode {mode & 0o777:o}): chmod 600 {file}")
    token = token.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise ConfigError(f"{origin} holds no token: one word of plain characters, as Label Studio shows it")
    return token


class Studio:
    """An open connection to a server; `url` is without credentials. Neither it nor its errors show the token."""

    def __init__(self, url: str, client: LabelStudio, http: httpx.Client, call: Caller) -> None:
        self.url = url
        self.client = client
        self.http = http
        self.call = call

    @classmethod
    def connect(cls, url: str | None, token: str, *, patience: float = PATIENCE) -> Studio:
        """Reach the server at `url`, by default that of `LABEL_STUDIO_URL`, and make sure that it can be worked with.

        token: a legacy token or a personal access token. patience: seconds for which an unanswered request is repeated.

        Raises:
            ConfigError: no URL; no Label Studio there; a wrong token; a server that is too old.
            WorkError: nothing answers there.
        """
        server = _server(url if url is not None else os.environ.get(URL_VARIABLE))
        call = Caller(server, token, patience)
        http = httpx.Client(timeout=TIMEOUT, follow_redirects=True)
        try:
            make: Any = LabelStudio
            client = call.once(lambda: make(base_url=server, api_key=token, httpx_client=http, max_retries=0))
            studio = cls(server, client, http, call)
            studio._require()
        except BaseException:
            http.close()
            raise
        return studio

    def __repr__(self) -> str:
        return f"Studio({self.url})"

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str) -> httpx.Response:
        """Ask the server for a file of its own (`/data/...`), as its web page would."""
        return self.call(lambda: self.http.get(f"{self.url}{path}", headers=self.client._client_wrapper.get_headers()))

    def close(self) -> None:
        """Close the connection."""
        self.http.close()

    def _require(self) -> None:
        answer: httpx.Response | None = None
        problem = ""
        try:
            # A name or port that is wrong stays wrong; all later requests are patient.
            answer = self.call.once(lambda: self.http.get(f"{self.url}/health"))
        except Unanswered as error:
            problem = str(error)
        if problem.startswith("ConnectError"):
            raise WorkError(f"nothing answers at {self.url} ({problem}): start the server, or correct --url")
        if answer is not None and answer.url.copy_with(path="/", query=None) != httpx.URL(self.url).copy_with(path="/"):
            raise ConfigError(f"server {self.url} sends its visitors to {answer.url}: name that server (--url)")
        told = self.call(self.client.versions.get)
        version = _version(told.model_dump())
        if version is None:
            raise ConfigError(f"server {self.url} answers and is no Label Studio: correct --url")
        if version < OLDEST:
            raise ConfigError(f"server {self.url} is Label Studio {version}; {OLDEST} or newer is needed: update it")
        self.call(self.client.users.whoami)


def _server(url: str | None) -> str:
    """The address without a slash at its end."""
    if not url:
        raise ConfigError(
            f"no Label Studio server: name it with --url or {URL_VARIABLE}, or start one: make label-studio"
        )
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ConfigError(f"{url} is no URL of a server: write it like http://127.0.0.1:8080")
    if parts.username or parts.password:
        raise ConfigError(
            f"the URL of server {parts.hostname} holds a user or password: leave it out; a token is enough"
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _version(told: dict[str, object]) -> Version | None:
    try:
        return Version(str(told.get("release") or ""))
    except InvalidVersion:
        return None
