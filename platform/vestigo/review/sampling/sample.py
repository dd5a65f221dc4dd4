"""Sample the tasks to annotate next, and record the sample in the store."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vestigo.resolve import require_attributes
from vestigo.retrieval.gallery import EVERYWHERE, Scope, count_without_time, without_time_note
from vestigo.review.labels.agreement import known_labels
from vestigo.review.sampling.candidates import CandidateTasks, collect_tasks
from vestigo.review.sampling.probabilities import inclusion_probabilities, systematic_sample
from vestigo.review.sampling.scores import TaskFeatures
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, SamplingStrategy, find_strategy
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import DRAW
from vestigo.store.review.records import LabelSample, NewTask, SamplingDesign, Unit
from vestigo_models.arrays import Float64Array
from vestigo_models.errors import UsageError
from vestigo_models.progress import ProgressCallback, ignore_progress

BATCH_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class SamplingRequest:
    """What to sample."""

    strategy: str = DEFAULT_STRATEGY  # a name from `vestigo.review.sampling.strategies`
    budget: int  # number of tasks
    unit: Unit = "tracklet"
    seed: int | None = None  # of every random choice; None is the number of the project's batches, so samples differ
    scope: Scope = EVERYWHERE
    about: tuple[str, ...] = ()  # attributes that the strategy scores; empty for all

    @property
    def description(self) -> str:
        """The strategy and its attributes, as stored."""
        return f"{self.strategy} of {', '.join(self.about)}" if self.about else self.strategy

    def select_features(self, features: TaskFeatures) -> TaskFeatures:
        """Return the features of the attributes that the strategy scores."""
        return features.select_attributes(self.about) if self.about else features


@dataclass(frozen=True, kw_only=True)
class TaskSample:
    """A sample of tasks that is not recorded yet."""

    design: SamplingDesign
    candidates: CandidateTasks  # all N tasks that could be sampled
    probabilities: Float64Array  # (N,) inclusion probabilities
    picked: tuple[int, ...]  # positions of the sampled tasks in the order in which they are annotated

    @property
    def tasks(self) -> list[NewTask]:
        """The sampled tasks."""
        return [self.candidates.tasks[place] for place in self.picked]


@dataclass(frozen=True, kw_only=True)
class SamplingReason:
    """Why a task was sampled with its inclusion probability."""

    task: NewTask
    probability: float
    attribute: str | None  # the attribute with the largest part of its score; None if no attribute has one
    text: str  # for example `Colour uncertain: red 41%`


def sample_tasks(
    store: Store, project: str, model: Model, request: SamplingRequest, progress: ProgressCallback = ignore_progress
) -> TaskSample:
    """Sample tasks for a project without recording anything; fewer than the budget if fewer are available.

    Raises:
        UsageError: If the budget is below 1, the model predicts no attributes, or no crop is in the scope.
        ConfigError: If the strategy or an attribute of the request is unknown.
    """
    strategy = find_strategy(request.strategy)
    if request.budget < 1:
        raise UsageError(f"budget {request.budget}: give a number of tasks from 1 on")
    schema = require_attributes(model)
    candidates = collect_tasks(
        store, model, unit=request.unit, scope=request.scope, labels=known_labels(store, schema), progress=progress
    )
    if not candidates.tasks:
        note = without_time_note(count_without_time(store, model, request.scope))
        remedy = note or "index an archive, or widen the scope"
        raise UsageError(f"there is no crop of model {model.name} to be reviewed: {remedy}")
    known = store.review.existing_keys(project, [task.key for task in candidates.tasks])
    sampled = np.array([task.key in known for task in candidates.tasks], dtype=np.bool_)
    seed = len(store.review.samples(project)) if request.seed is None else request.seed
    rng = np.random.default_rng((seed, int(model.digest[:8], 16)))
    probabilities = inclusion_probabilities(
        strategy.score(request.select_features(candidates.features)),
        min(request.budget, int((~sampled).sum())),
        sampled=sampled,
    )
    picked = rng.permutation(systematic_sample(probabilities, rng, sampled=sampled))
    design = SamplingDesign(
        model=model.digest,
        strategy=request.description,
        unit=request.unit,
        budget=request.budget,
        seed=seed,
        population=len(candidates.tasks),
        thinned=candidates.thinned,
    )
    return TaskSample(design=design, candidates=candidates, probabilities=probabilities, picked=tuple(picked.tolist()))


def save_sample(store: Store, project: str, sample: TaskSample) -> int:
    """Record a sample and return its batch's id; raise StoreError if another command has sampled one of its tasks."""
    keys = [task.key for task in sample.candidates.tasks]
    table = pa.table({"task": keys, "probability": sample.probabilities}, DRAW)
    return store.review.save_sample(project, sample.design, sample.tasks, table.to_batches(BATCH_ROWS))


def find_open_batch(store: Store, project: str, model: Model, request: SamplingRequest) -> LabelSample | None:
    """Return the newest batch if it was sampled by this request and has tasks without annotations."""
    batches = store.review.samples(project)
    if not batches or batches[-1].imported:
        return None
    newest = batches[-1]
    design = newest.design
    wanted = (model.digest, request.description, request.budget, request.unit)
    if (design.model, design.strategy, design.budget, design.unit) != wanted or request.seed not in (None, design.seed):
        return None
    counts = store.review.task_counts(project, newest.id)
    return newest if counts["answered"] < counts.get("drawn", 0) + counts.get("pushed", 0) else None


def explain_sample(sample: TaskSample, request: SamplingRequest) -> list[SamplingReason]:
    """Return the reason for each sampled task, in order.

    Half of a sample is chance (`probabilities.CHANCE`), so a task can be sampled in spite of a low score.
    """
    features = request.select_features(sample.candidates.features)
    strategy = find_strategy(request.strategy)
    scores = strategy.factory(features)
    reasons = []
    for row, task in zip(sample.picked, sample.tasks, strict=True):
        attribute, text = None, strategy.reason
        if scores.ndim == 2:
            text = "by chance"
            if scores[:, row].any():
                attribute = features.schema.names[int(scores[:, row].argmax())]
                text = _format_reason(strategy, features, attribute, row)
        probability = float(sample.probabilities[row])
        reasons.append(SamplingReason(task=task, probability=probability, attribute=attribute, text=text))
    return reasons


def _format_reason(strategy: SamplingStrategy, features: TaskFeatures, name: str, row: int) -> str:
    schema = features.schema
    values, columns = schema[name].values, schema.slice(name)

    def largest(shares: list[float]) -> str:
        return f"{values[shares.index(max(shares))]} {max(shares):.0%}"

    label = int(features.labels[row, schema.index(name)])
    return strategy.reason.format(
        title=schema[name].title,
        prediction=largest(features.probabilities[row, columns].tolist()),
        vote=largest(features.votes[row, columns].tolist()),
        label=values[label] if label >= 0 else "nothing",
    )
