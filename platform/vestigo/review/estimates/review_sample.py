"""Read the annotated crops of a model from the store."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.promotion.splits import identity_key, is_test
from vestigo.resolve import require_attributes
from vestigo.review.estimates.annotator_error import AnnotatorError, count_pairs, estimate_annotator_error
from vestigo.review.estimates.precision import NO_LABEL, UNDECIDABLE, AnnotatedCrops
from vestigo.review.labels.agreement import CANNOT_TELL, AnnotatedTask, Consensus, annotated_tasks, find_consensus
from vestigo.review.sampling.probabilities import combine_rounds
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import matrix
from vestigo.store.review.records import LabelTask
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

COLUMNS = ("crop_id", "camera", "time", "attributes")
ReadCrops = Callable[[Collection[str], Sequence[str]], Iterable[pa.RecordBatch]]
"""Reads columns of the visible ones of some crops of a model."""


@dataclass(frozen=True, kw_only=True)
class ReviewSample:
    """Annotated crops of a model."""

    reviewed: AnnotatedCrops  # R crops of T sampled and annotated tasks, without imports and corrections
    crops: NDArray[np.str_]  # (R,) str, their ids
    tasks: tuple[LabelTask, ...]  # the T tasks; of several projects with a task for the same crops, that of the first
    missing: int  # number of annotated tasks without a crop of this model
    # Number of annotated tasks that do not count because the model learnt from labels and their identity can be in the
    # training data (`vestigo.promotion.splits`).
    learnt: int


def read_review_sample(
    store: Store, model: Model, projects: Sequence[str] | None = None, *, read_crops: ReadCrops | None = None
) -> ReviewSample:
    """Read the annotated crops of a model; memory is that of the result.

    `projects` are by default all with the model's attributes. `read_crops` takes the place of the store for crops that
    are in memory.

    Raises:
        UsageError: If no sampled task is annotated, all annotated tasks can be in the training data, or the model has
            no crop of them.
        StoreError: If a project is unknown.
    """
    schema = require_attributes(model)
    if projects:
        names = [store.review.get_project(name).name for name in projects]
    else:
        names = [project.name for project in store.review.projects() if project.schema == schema]
    tasks: dict[str, list[AnnotatedTask]] = {}
    for name in names:
        batches = {batch.id for batch in store.review.samples(name) if not batch.imported}
        for task in annotated_tasks(store, name):
            if task.task.sample in batches:
                tasks.setdefault(task.task.key, []).append(task)
    if not tasks:
        raise UsageError("no sampled task is annotated yet: `vestigo label push`, then `vestigo label pull`")
    pairs = count_pairs(schema, (task for same_crops in tasks.values() for task in same_crops))
    error = estimate_annotator_error(schema, pairs)
    count = len(tasks)
    if is_trained_on_labels(store, model):
        tasks = {key: same_crops for key, same_crops in tasks.items() if is_test(task_identity(same_crops[0].task))}
        if not tasks:
            raise UsageError(
                f"model {model.name} was trained on labels, so it is evaluated on the fifth of the identities that no "
                f"model is trained on: none of the {count} annotated tasks shows one of them; annotate more tasks"
            )
    keys = list(tasks)
    missed = np.ones(len(keys))
    for name in names:
        missed *= 1 - _annotation_probabilities(store, name, keys)
    consensus = [
        find_consensus({name: values for task in tasks[key] for name, values in task.annotations.items()})
        for key in keys
    ]
    positions = {crop: place for place, key in enumerate(keys) for crop in tasks[key][0].task.crops}
    found = (read_crops or partial(store.crops.select, model=model.digest))(positions, COLUMNS)
    filled = [batch for batch in found if batch.num_rows]
    if not filled:
        raise UsageError(
            f"model {model.name} ({model.digest[:12]}) has no crop of the annotated tasks: index the archive with it"
        )
    crops = pa.Table.from_batches(filled)
    reviewed = _annotated_crops(crops, schema, positions, consensus, 1 - missed, error)
    return ReviewSample(
        reviewed=reviewed,
        crops=np.array(crops["crop_id"].to_pylist(), dtype=np.str_),
        tasks=tuple(tasks[key][0].task for key in keys),
        missing=len(keys) - len(np.unique(reviewed.task)),
        learnt=count - len(keys),
    )


def is_trained_on_labels(store: Store, model: Model) -> bool:
    """Whether a model or one of its ancestors was trained on labels of the store."""
    models = {known.digest: known for known in store.models.list()}
    visited: set[str] = set()
    digest: str | None = model.digest
    while digest in models and digest not in visited:
        visited.add(digest)
        if models[digest].origin.get("label_set") is not None:
            return True
        digest = models[digest].parent
    return False


def task_identity(task: LabelTask) -> str:
    """Return the identity of a task, as `vestigo.promotion.splits.identity_key` does."""
    return identity_key(pid=task.pid, tracklet=task.tracklet, crop=task.crops[0])


def _annotation_probabilities(store: Store, project: str, keys: Collection[str]) -> NDArray[np.float64]:
    """Return (T,) probabilities that each task was sampled and annotated in a project."""
    batches = [batch for batch in store.review.samples(project) if not batch.imported]
    if not batches:
        return np.zeros(len(keys))
    probabilities, shares, thinned = [], [], np.zeros(len(keys))
    for batch in batches:
        known = store.review.inclusion_probabilities(batch.id, keys)
        row = np.array([known.get(key, 0.0) for key in keys])
        probabilities.append(row)
        thinned = np.maximum(thinned, np.where(row > 0, batch.design.thinned, 0.0))
        shares.append(store.review.task_counts(project, batch.id)["answered"] / max(1, batch.tasks))
    return thinned * combine_rounds(np.array(probabilities), np.array(shares))


def _annotated_crops(
    crops: pa.Table,
    schema: AttributeSchema,
    positions: Mapping[str, int],
    consensus: Sequence[Consensus],
    probability: NDArray[np.float64],
    error: AnnotatorError,
) -> AnnotatedCrops:
    """Return crops (`COLUMNS`) with the labels of their tasks."""
    labels = np.array([[_class_of(schema, name, task) for name in schema.names] for task in consensus], dtype=np.int64)
    margins = np.array([[task.margins.get(name, 0) for name in schema.names] for task in consensus], dtype=np.int64)
    task = np.array([positions[crop] for crop in crops["crop_id"].to_pylist()], dtype=np.int64)
    shares = matrix(crops["attributes"].combine_chunks())
    groups = [shares[:, schema.slice(name)] for name in schema.names]
    return AnnotatedCrops(
        schema=schema,
        probability=probability,
        task=task,
        predicted=np.stack([group.argmax(axis=1) for group in groups], axis=1),
        confidence=np.stack([group.max(axis=1) for group in groups], axis=1),
        answer=labels[task],
        camera=np.array(crops["camera"].to_pylist(), dtype=np.str_),
        time=crops["time"].to_numpy().astype("datetime64[us]"),
        margins=margins[task],
        error=error,
    )


def _class_of(schema: AttributeSchema, name: str, consensus: Consensus) -> int:
    if name not in consensus.labels:
        return NO_LABEL
    label = consensus.labels[name]
    return UNDECIDABLE if label == CANNOT_TELL else schema[name].values.index(label)
