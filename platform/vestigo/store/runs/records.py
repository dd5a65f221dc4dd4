"""Runs and shards as the store returns and takes them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

ShardKind = Literal["images", "slice", "assembly", "regions"]
InputState = Literal["done", "empty", "quarantined", "passed_over"]
"""`passed_over` is a file of a kind that is not read; its `reason` is the kind."""
RunStatus = Literal["running", "succeeded", "failed", "cancelled"]
Spec = dict[str, Any]
SelectInputs = Callable[[Spec, Sequence[int]], Spec]
"""Returns the spec of a shard reduced to its inputs at some positions."""
HasVideo = Callable[[Spec], bool]
"""Returns whether the video of a slice can still be read; without it a retry would only lose crops."""


@dataclass(frozen=True)
class InputPlan:
    """An input to process; `key` identifies its content in every run."""

    name: str
    key: str


@dataclass(frozen=True)
class ShardPlan:
    """A shard to process.

    Attributes:
        kind: Kind of shard.
        source: Source of its inputs.
        after: Group key that the slices and the assembly of a video share; the assembly waits while a slice is pending.
        spec: JSON for the worker.
        inputs: Its inputs in order.
    """

    kind: ShardKind
    source: str
    after: str | None
    spec: Spec
    inputs: tuple[InputPlan, ...] = ()


@dataclass(frozen=True)
class ShardTask:
    """A pending shard; `inputs` are names in order of position, `attempts` the deaths of workers so far."""

    id: int
    run_id: str
    kind: ShardKind
    source: str
    after: str | None
    spec: Spec
    attempts: int
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class InputOutcome:
    """The outcome of the input at `position` of its shard."""

    position: int
    state: InputState
    rows: int = 0
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class InputFailure:
    """A quarantined input (`frame` is None), or a frame that failed in an input that did not."""

    input: str
    frame: int | None
    reason: str
    detail: str


@dataclass(frozen=True)
class FailureCount:
    """Number of inputs and of single frames that failed for one reason."""

    reason: str
    inputs: int
    frames: int


@dataclass(frozen=True)
class RetryResult:
    """Number of inputs set back to pending, and the names of those whose video is `missing`."""

    inputs: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Owner:
    """The process that holds the lease on a run."""

    host: str
    pid: int

    @classmethod
    def current(cls) -> Owner:
        """Return this process."""
        return cls(socket.gethostname(), os.getpid())


@dataclass(frozen=True)
class Run:
    """A run of the catalogue; `model` is a digest, `seconds` the driven time, `error` the reason of a failure."""

    id: str
    created: datetime
    finished: datetime | None
    status: RunStatus
    fingerprint: str
    config: dict[str, Any]
    model: str
    command: str
    cancel_requested: bool
    planned: bool
    replaces: bool
    host: str | None
    pid: int | None
    heartbeat: datetime | None
    seconds: float
    error: str | None

    @property
    def kind(self) -> str:
        """Kind of command: `index` or `regions`."""
        return str(self.config.get("kind", "index"))


@dataclass(frozen=True)
class RunTotals:
    """The ledger of a run: inputs = done + empty + quarantined + passed_over + pending; what it made."""

    inputs: int
    done: int
    empty: int
    quarantined: int
    pending: int
    frame_failures: int
    crops: int
    tracklets: int
    regions: int = 0
    passed_over: int = 0

    @property
    def failures(self) -> int:
        """Number of failed inputs and frames."""
        return self.quarantined + self.frame_failures


def status_text(status: str, totals: RunTotals) -> str:
    """Return the status with the number of failures, as in `succeeded with 2 failures`."""
    if status != "succeeded" or not totals.failures:
        return status
    return f"succeeded with {totals.failures} failure{'s' if totals.failures > 1 else ''}"
