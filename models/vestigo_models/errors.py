"""Every error that Vestigo raises on purpose.

    VestigoError
    ├── UsageError              wrong usage or bad input of a whole command (exit status 2)
    │   ├── ConfigError         a configuration key or value
    │   ├── DatasetError        a benchmark dataset: folder, file names, labels
    │   ├── SourceError         a camera archive that cannot be planned
    │   ├── ModelError          a model package or checkpoint
    │   └── StoreError          a store: location, schema version, unknown run or crop
    │       └── FingerprintMismatch   work bound to another configuration
    ├── WorkError               the work was sound and failed (exit status 1)
    └── BadInput                one input that cannot be processed; the pipeline quarantines it and goes on

A message is one line: it names the value that was wrong and what to do about it.
"""

from __future__ import annotations


class VestigoError(Exception):
    """Root of the tree; `exit_status` is what the command line returns."""

    exit_status = 1


class UsageError(VestigoError):
    """Wrong usage or bad input of a whole command."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration key or value is wrong."""


class DatasetError(UsageError):
    """A dataset is not what its layout promises."""


class SourceError(UsageError):
    """A camera archive cannot be read at all."""


class ModelError(UsageError):
    """A model package, checkpoint or model name is wrong."""


class StoreError(UsageError):
    """A store cannot be opened, or does not hold what was asked for."""


class FingerprintMismatch(StoreError):
    """Stored work is bound to another model, preprocessing, schema or configuration."""


class WorkError(VestigoError):
    """The work itself failed."""


class BadInput(VestigoError):
    """One input cannot be processed.

    `reason` is a short stable code (`empty-file`, `not-an-image`, `too-large`, `truncated`, ...) that reports
    group by; `detail` is the sentence for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
