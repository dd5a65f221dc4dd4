"""The errors that Vestigo raises on purpose, and helpers for their messages.

A message is one line: what is wrong, the value, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_USER_INFO = re.compile(
    r"\b([a-z][a-z0-9+.-]*:/{1,2})[^\s'\"@/]*:(?:(?!\d+\b)(?:(?!: |; |, |\) |\w:/).)*@(?=[\w\[])|[^\s'\"]*@)"
    r"|\b((?:s3|https?|ray):/{1,2})[^\s'\"@/]+@",
    re.IGNORECASE,
)
"""User and password, or a token alone, up to the last `@`: a secret that is not escaped may hold any character.

Numbers that end at the next sign are ports.
"""
_SECRET_VALUE = re.compile(
    r"([?&\s'\"][\w-]*(?:password|secret|token|api_?key|access_?key|secret_?key|accesskeyid|signature|credential)="
    r"|authorization['\"]?: ?['\"]?\w+ )[^\s&'\"]+",
    re.IGNORECASE,
)
"""The value of a parameter of a URL, of a connection string or of a request's header."""


class VestigoError(Exception):
    """The base class of all errors; `exit_status` is that of the command."""

    exit_status = 1


class UsageError(VestigoError):
    """Wrong usage or bad input of a whole command: exit status 2."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration key or value is wrong."""


class DatasetError(UsageError):
    """A dataset does not have the layout of its format."""


class SourceError(UsageError):
    """A camera archive cannot be read at all."""


class ModelError(UsageError):
    """A model package, checkpoint or model name is wrong."""


class StoreError(UsageError):
    """A store cannot be opened, or has no such run, crop or model."""


class FingerprintMismatch(StoreError):
    """Stored work is bound to another model, preprocessing, schema or configuration."""


class LeaseLost(StoreError):
    """Another process drives the run; nothing of this process is committed to it any more."""


class StoreUnavailable(StoreError):
    """The database of a store does not answer, or cannot be changed."""

    exit_status = 1


class WorkError(VestigoError):
    """Correct usage, but the work failed: exit status 1."""


class BadInput(VestigoError):
    """One input cannot be processed; it is quarantined and the run continues.

    `reason` is a short stable code that reports group by, such as `empty-file`; `detail` is a sentence for readers.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


def quote(value: object) -> str:
    """Return the `repr` of a value of a user for a message; the middle of a long one is left out."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]} ... {text[-10:]}"


def key_path(parts: Iterable[object]) -> str:
    """Return the path of a key of a configuration for a message, such as `network.channels`."""
    return quote(".".join(map(str, parts)))[1:-1]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def hide_credentials(text: str) -> str:
    """Return a message in which `***` stands for users, passwords, keys and tokens of URLs and connection strings."""
    return _SECRET_VALUE.sub(r"\1***", _USER_INFO.sub(r"\1\2***@", text))
