"""What the store hands out and takes in: frozen facts without a database behind them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

ShardKind = Literal["images", "slice", "assembly", "regions"]
InputState = Literal["done", "empty", "quarantined"]
RunStatus = Literal["running", "succeeded", "failed", "cancelled"]
Spec = dict[str, Any]
PickSpec = Callable[[Spec, Sequence[int]], Spec]
"""Returns the spec of a shard for only those of its inputs that are at some positions."""


@dataclass(frozen=True)
class InputPlan:
    """An input to be processed; `key` identifies its content, whatever the run."""

    name: str
    key: str


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be processed.

    `after` is the group key of a video: its slices and its assembly carry the same one, and the assembly waits
    until none of the slices is pending. `spec` is JSON for whoever does the work.
    """

    kind: ShardKind
    source: str
    after: str | None
    spec: Spec
    inputs: tuple[InputPlan, ...] = ()


@dataclass(frozen=True)
class PlanResult:
    """How much was added to the catalogue."""

    shards: int
    inputs: int


@dataclass(frozen=True)
class ShardTask:
    """A pending shard; `inputs` are the names in order of position, `attempts` the deaths so far."""

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
    """What became of the input at `position` of its shard."""

    position: int
    state: InputState
    rows: int = 0
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class FrameFailure:
    """A frame that could not be used, in an input that otherwise could."""

    input: str
    frame: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Failure:
    """An input (`frame` is None) or a frame that a run left out, and why."""

    input: str
    frame: int | None
    reason: str
    detail: str


@dataclass(frozen=True)
class FailureCount:
    """How many inputs and single frames a run left out for one reason."""

    reason: str
    inputs: int
    frames: int


@dataclass(frozen=True)
class Retried:
    """How many inputs wait again, and which were `left` because their video is no longer where it was."""

    inputs: int
    left: tuple[str, ...]


@dataclass(frozen=True)
class Owner:
    """The process that drives a run."""

    host: str
    pid: int

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        return cls(socket.gethostname(), os.getpid())


@dataclass(frozen=True)
class Run:
    """A run as the catalogue knows it; `model` is a digest, `seconds` the time it was driven, `error` what it failed
    of."""

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
        """What it did: `index`, or `regions`."""
        return str(self.config.get("kind", "index"))


@dataclass(frozen=True)
class RunTotals:
    """The ledger of a run: inputs = done + empty + quarantined + pending; crops, tracklets, label maps that it made."""

    inputs: int
    done: int
    empty: int
    quarantined: int
    pending: int
    frame_failures: int
    crops: int
    tracklets: int
    regions: int = 0

    @property
    def failures(self) -> int:
        """Inputs and frames that were left out."""
        return self.quarantined + self.frame_failures


def status_text(status: str, totals: RunTotals) -> str:
    """Return the status in words: `succeeded with N failures` where some were left out."""
    if status != "succeeded" or not totals.failures:
        return status
    return f"succeeded with {totals.failures} failure{'s' if totals.failures > 1 else ''}"
