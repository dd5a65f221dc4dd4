"""What the store hands out and takes in: frozen facts without a database behind them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from vestigo.store.models.facts import ModelFacts

ShardKind = Literal["images", "slice", "assembly", "regions"]
InputState = Literal["done", "empty", "quarantined"]
RunStatus = Literal["running", "succeeded", "failed", "cancelled"]
FileKind = Literal["crops", "candidates", "detections", "tracklets", "ranking", "queries", "regions", "draw", "labels"]
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
class WrittenFile:
    """A Parquet file that lies under the data root (`path` is relative to it) and that nobody refers to yet.

    `checksum` is the SHA-256 of its bytes, in hex; `cameras` and times (as recorded) summarise its rows.
    """

    kind: FileKind
    path: str
    rows: int
    bytes: int
    checksum: str
    schema_version: int
    cameras: tuple[str, ...] = ()
    first_time: datetime | None = None
    last_time: datetime | None = None


@dataclass(frozen=True)
class StoredFile:
    """A file that the catalogue refers to."""

    id: int
    run_id: str | None
    shard_id: int | None
    kind: FileKind
    path: str
    rows: int
    bytes: int


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


@dataclass(frozen=True)
class Model:
    """A model version that the store knows, and what its crops mean.

    `parent` is the digest of the model that it was trained from, `origin` says how (data, label set, configuration)
    and `scores` how it was judged; both are {} for a model that was not trained here.
    """

    digest: str
    name: str
    location: str
    registered: datetime
    facts: ModelFacts = field(default_factory=ModelFacts)
    parent: str | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """A change of the model that serves: `model` (a digest, None for no promoted model) took the place of `before`."""

    kind: Literal["promotion", "rollback"]
    model: str | None
    before: str | None
    at: datetime
    by: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Camera:
    """A camera; `clock_offset_s` seconds are added to the times it recorded."""

    name: str
    clock_offset_s: float


@dataclass(frozen=True)
class CheckReport:
    """What `check` found; `digest` is the SHA-256 over the visible crops, `unreferenced` files wait for `vacuum`."""

    intact: bool
    crops: int
    digest: str
    problems: tuple[str, ...]
    runs: int
    files: int
    unreferenced: int


@dataclass(frozen=True)
class VacuumReport:
    """What `vacuum` removed, or would remove."""

    files: int
    bytes: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class ExportReport:
    """What was exported; `left_out` crops belong to no known person or tracklet."""

    crops: int
    identities: int
    queries: int
    left_out: int
