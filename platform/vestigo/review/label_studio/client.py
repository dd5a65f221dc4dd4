"""Connection to a Label Studio server: URL, token, retries and errors."""

import json
import logging
import os
import re
import stat
from collections.abc import Callable
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.parse_error import ParsingError
from packaging.version import InvalidVersion, Version
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

from vestigo_models.errors import ConfigError, VestigoError, WorkError
from vestigo_models.text_files import read_text

T = TypeVar("T")
log = logging.getLogger(__name__)
MIN_VERSION = Version("1.22")  # the first version that lists tasks without their data
URL_VARIABLE = "LABEL_STUDIO_URL"
TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"
PATIENCE = 60.0  # seconds for which a failed request is repeated
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_WAIT = 8.0
MAX_DETAIL = 200


class TransientError(WorkError):
    """No response, or one that asks to try later; the server may have carried out the request."""


class NotFoundError(ConfigError):
    """The server does not have the requested object."""


def read_token(file: Path | None) -> str:
    """Read the token from a file, or from `LABEL_STUDIO_API_KEY`.

    Raises:
        ConfigError: If there is no token, it is malformed, or others can read the file.
    """
    if file is None:
        token, origin = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
        if not token.strip():
            raise ConfigError(f"no token for Label Studio: set {TOKEN_VARIABLE}, or name a file with --token-file")
    else:
        origin = str(file)
        try:
            mode = file.stat().st_mode
            token = read_text(file)
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", "it is no text")
            raise ConfigError(f"token file {file} cannot be read: {problem}") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"token file {file} is open to others (mode {mode & 0o777:o}): chmod 600 {file}")
    token = token.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise ConfigError(f"{origin} holds no token: one word of plain characters, as Label Studio shows it")
    return token


class LabelStudioClient:
    """An open connection. Neither it nor its errors show the token.

    `sdk` is the client of Label Studio's own library, whose calls are made through `call`; `http` is for files that the
    server serves.
    """

    sdk: LabelStudio

    def __init__(self, url: str, token: str, patience: float) -> None:
        self.url = url
        self.http = httpx.Client(timeout=TIMEOUT, follow_redirects=True)
        self._token = token
        self._patience = patience

    @classmethod
    def connect(cls, url: str | None, token: str, *, patience: float = PATIENCE) -> Self:
        """Connect to a server (default: `LABEL_STUDIO_URL`) and check its version and the token, legacy or personal.

        A failed request is repeated for `patience` seconds.

        Raises:
            ConfigError: If there is no URL, the server is not Label Studio or too old, or the token is invalid.
            WorkError: If the server does not respond.
        """
        client = cls(_parse_url(url if url is not None else os.environ.get(URL_VARIABLE)), token, patience)
        sdk: Any = LabelStudio
        try:
            client.sdk = client.call_once(
                lambda: sdk(base_url=client.url, api_key=token, httpx_client=client.http, max_retries=0)
            )
            client._check_server()
        except BaseException:
            client.close()
            raise
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.http.close()

    def get(self, path: str) -> httpx.Response:
        """Request a file that the server serves (`/data/...`), as its web page does."""
        return self.call(lambda: self.http.get(f"{self.url}{path}", headers=self.sdk._client_wrapper.get_headers()))

    def call_once(self, request: Callable[[], T]) -> T:
        """Make a request once; raise TransientError if a retry can succeed, NotFoundError for 404, else ConfigError."""
        error: VestigoError
        try:
            return request()
        except httpx.HTTPError as failure:
            error = TransientError(f"{type(failure).__name__}: {self._shorten(str(failure))}")
        except ApiError as failure:
            error = self._translate(failure.status_code, failure.body)
        except (ParsingError, JSONDecodeError):
            error = self._not_label_studio()
        # Raised here so that the other error, which holds the request and its headers, is not chained to it.
        raise error

    def call(self, request: Callable[[], T]) -> T:
        """Make a request and repeat it on transient errors, with growing waits.

        `request` may itself call this method, for example to find out what an earlier attempt did. Exceptions are those
        of `call_once`, and WorkError when the patience is over.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_exponential(multiplier=0.25, max=MAX_WAIT) + wait_random(0, 0.25),
            stop=stop_after_delay(self._patience),
            before_sleep=self._log_retry,
            reraise=True,
        )
        try:
            result: T = retrying(self.call_once, request)
            return result
        except TransientError as error:
            raise WorkError(
                f"server {self.url} does not answer ({error}), tried for {self._patience:g} seconds; "
                "what was sent is kept, the same command goes on"
            ) from None

    def _check_server(self) -> None:
        try:
            # A wrong name or port stays wrong, so this request is not repeated.
            response = self.call_once(lambda: self.http.get(f"{self.url}/health"))
        except TransientError as error:
            if str(error).startswith("ConnectError"):
                raise WorkError(
                    f"nothing answers at {self.url} ({error}): start the server, or correct --url"
                ) from None
        else:
            redirected = response.url.copy_with(path="/", query=None)
            if redirected != httpx.URL(self.url).copy_with(path="/"):
                raise ConfigError(f"server {self.url} redirects to {response.url}: name that server (--url)")
        versions = self.call(self.sdk.versions.get).model_dump()
        try:
            version = Version(str(versions.get("release") or ""))
        except InvalidVersion:
            raise ConfigError(f"server {self.url} answers and is no Label Studio: correct --url") from None
        if version < MIN_VERSION:
            raise ConfigError(
                f"server {self.url} is Label Studio {version}; {MIN_VERSION} or newer is needed: update it"
            )
        self.call(self.sdk.users.whoami)

    def _log_retry(self, state: RetryCallState) -> None:
        log.info("server %s: %s; trying again", self.url, state.outcome and state.outcome.exception())

    def _translate(self, status: int | None, body: Any) -> VestigoError:
        """Return the error for an HTTP status."""
        detail = self._shorten(_detail(body))
        if status in TRANSIENT_STATUS:
            return TransientError(f"HTTP {status}")
        if status == 401:
            return ConfigError(
                f"server {self.url} refuses the token (401: {detail}): copy a valid one from Account & Settings "
                "there into LABEL_STUDIO_API_KEY or --token-file; a legacy token must be allowed by the organization"
            )
        if status == 403:
            return ConfigError(f"server {self.url}: the token's user may not do this (403: {detail}): use an owner's")
        if status == 404:
            return NotFoundError(f"server {self.url} does not have it (404: {detail})")
        if status == 413:
            return ConfigError(
                f"server {self.url} takes no request of this size (413): keep images out of the tasks "
                "(--images local:ROOT or s3://BUCKET/PREFIX), or raise the limit of the web server before it"
            )
        if status is not None and status < 400:
            return self._not_label_studio()
        return ConfigError(f"server {self.url} refuses the request ({status}: {detail})")

    def _not_label_studio(self) -> ConfigError:
        return ConfigError(
            f"server {self.url} answers and is no Label Studio: name the address under which Label Studio opens in "
            "a browser (--url, LABEL_STUDIO_URL)"
        )

    def _shorten(self, text: str) -> str:
        """Return the beginning of a foreign text in one line and without the token."""
        line = " ".join(text.replace(self._token, "***").split())
        return line if len(line) <= MAX_DETAIL else f"{line[:MAX_DETAIL]}..."


def _detail(body: Any) -> str:
    """Return the reason in the body of an error response."""
    if isinstance(body, dict):
        details = body.get("validation_errors") or body.get("detail") or body
        return details if isinstance(details, str) else json.dumps(details, default=str)
    return str(body)


def _parse_url(url: str | None) -> str:
    """Check an address and return it without a trailing slash."""
    if not url:
        raise ConfigError(
            f"no Label Studio server: name it with --url or {URL_VARIABLE}, or start one: make label-studio"
        )
    if "@" in url:
        place = url.rpartition("@")[2]
        raise ConfigError(f"the URL of server {place} holds a user or password: leave it out; a token is enough")
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"{url} is no URL of a server: write it like http://127.0.0.1:8080")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
