"""What review hands out and takes in: frozen facts without a database behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vestigo_models.schemas.attributes import AttributeSchema

TaskState = Literal["drawn", "pushed", "deleted", "imported"]
Unit = Literal["tracklet", "crop"]


@dataclass(frozen=True)
class LabelProject:
    """A project of review; `server` and `remote_id` where Label Studio has it."""

    name: str
    created: datetime
    schema: AttributeSchema
    server: str | None
    remote_id: int | None


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How tasks were chosen.

    Attributes:
        model: digest of the model whose predictions are reviewed.
        strategy: in words: of `vestigo.review.sampling.strategies` and what about, or where an import came from.
        unit: what a task is.
        budget: tasks asked for.
        seed: of every random choice.
        population: tasks that could be drawn.
        thinned: the share of the archive's tasks that these are, 1 for all of them.
    """

    model: str
    strategy: str
    unit: Unit
    budget: int
    seed: int
    population: int
    thinned: float = 1.0


@dataclass(frozen=True)
class LabelBatch:
    """A draw that was recorded, and how many tasks came of it."""

    id: int
    project: str
    created: datetime
    draw: Draw
    tasks: int
    imported: bool


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """A task to be recorded: crops of one person, and what the model says of them together, (M,) probabilities.

    `key` names these crops for ever; `pid` is the dataset's label where there is one.
    """

    key: str
    source: str
    tracklet: str
    camera: str
    time: datetime | None
    pid: int | None
    crops: tuple[str, ...]
    prediction: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LabelTask(NewTask):
    """A task as the catalogue knows it; `model` is the digest of the model whose prediction it shows."""

    id: int
    project: str
    batch: int
    position: int
    state: TaskState
    remote_id: int | None
    model: str


@dataclass(frozen=True)
class LabelAnswer:
    """What one reviewer answered: attribute to value or "cannot tell"; `remote_id` names it on the server."""

    remote_id: int
    reviewer: str
    answered: datetime
    answers: Mapping[str, str]


@dataclass(frozen=True)
class LabelSet:
    """A version of all agreed labels; `digest` is that of its rows."""

    version: int
    created: datetime
    digest: str
    labels: int
    tasks: int
    projects: tuple[str, ...]
