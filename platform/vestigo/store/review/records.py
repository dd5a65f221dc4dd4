"""Review as the store returns and takes it: projects, samples, tasks, annotations, label sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vestigo_models.schemas.attributes import AttributeSchema

TaskState = Literal["drawn", "pushed", "deleted", "imported"]
Unit = Literal["tracklet", "crop"]


@dataclass(frozen=True)
class LabelProject:
    """A review project; `server` and `remote_id` are None unless Label Studio has it."""

    name: str
    created: datetime
    schema: AttributeSchema
    server: str | None
    remote_id: int | None


@dataclass(frozen=True, kw_only=True)
class SamplingDesign:
    """How tasks were sampled.

    Attributes:
        model: Digest of the model whose predictions are reviewed.
        strategy: Description of the sampling strategy and its attributes, or of the origin of imported tasks.
        budget: Number of tasks requested.
        population: Number of tasks that could be sampled.
        thinned: Share of the archive's tasks that the population is.
    """

    model: str
    strategy: str
    unit: Unit
    budget: int
    seed: int
    population: int
    thinned: float = 1.0


@dataclass(frozen=True)
class LabelSample:
    """A sample of a project; `tasks` is the number of its tasks, `imported` that they were not sampled."""

    id: int
    project: str
    created: datetime
    design: SamplingDesign
    tasks: int
    imported: bool


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """A task that is not stored yet.

    Attributes:
        key: Identifies the crops, in every project and for ever.
        tracklet: Tracklet of the crops, "" for a still crop.
        time: Time of the first crop.
        pid: Identity in the dataset, None if unknown.
        crops: Ids of the crops.
        prediction: M probabilities that the model predicts for the crops together.
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
    """A stored task; `sample` is the id of its sample, `model` the digest of the model of its prediction."""

    id: int
    project: str
    sample: int
    position: int
    state: TaskState
    remote_id: int | None
    model: str


@dataclass(frozen=True)
class Annotation:
    """The values, or "cannot tell", that one annotator gave by attribute; `remote_id` is the server's id."""

    remote_id: int
    annotator: str
    answered: datetime
    answers: Mapping[str, str]


@dataclass(frozen=True)
class LabelSet:
    """A version of all labels; `digest` is that of its rows."""

    version: int
    created: datetime
    digest: str
    labels: int
    tasks: int
    projects: tuple[str, ...]
