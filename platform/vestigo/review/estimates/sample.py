"""From the store to arrays: every crop of every reviewed task, what a model predicts of it and what was answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.promotion.splits import identity_key, is_test
from vestigo.resolve import require_attributes
from vestigo.review.estimates.annotator_error import ReviewerError, reviewer_error
from vestigo.review.estimates.precision import CANNOT_TELL as UNTOLD
from vestigo.review.estimates.precision import UNANSWERED, Reviewed
from vestigo.review.label_studio.form import CANNOT_TELL
from vestigo.review.labels.agreement import Agreed, ReviewedTask, agree, reviewed_tasks
from vestigo.review.sampling.probabilities import combine_rounds
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import matrix
from vestigo.store.review.records import LabelTask
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

COLUMNS = ("crop_id", "camera", "time", "attributes")


@dataclass(frozen=True, kw_only=True)
class ReviewSample:
    """What was reviewed of a model.

    Attributes:
        reviewed: R crops of T tasks, and answers; tasks that nobody drew (imports) are not among them.
        crops: (R,) str, their ids.
        tasks: T, of several projects that ask about the same crops the first one's.
        missing: reviewed tasks of which the store has no crop of this model.
        learnt: reviewed tasks that are left out because the model has learnt from reviews, and they are about people
            that models may learn from (`vestigo.promotion.splits`).
    """

    reviewed: Reviewed
    crops: NDArray[np.str_]
    tasks: tuple[LabelTask, ...]
    missing: int
    learnt: int


Pick = Callable[[Collection[str], Sequence[str]], Iterable[pa.RecordBatch]]
"""Reads columns of those crops of a model that are visible, as `Store.pick_crops`."""


def review_sample(
    store: Store, model: Model, projects: Sequence[str] | None = None, *, pick: Pick | None = None
) -> ReviewSample:
    """Gather what reviewers said, in all projects that ask for the model's attributes by default.

    Memory is that of what was reviewed. pick: instead of the store, where crops were read before.

    Raises:
        UsageError: nothing was drawn and reviewed that the model has not learnt from, or the model has no crop of it.
        StoreError: an unknown project.
    """
    schema = require_attributes(model)
    names = [store.review.get_project(name).name for name in projects] if projects else _asking(store, schema)
    tasks: dict[str, list[ReviewedTask]] = {}
    for name in names:
        batches = {batch.id for batch in store.review.batches(name) if not batch.imported}
        for task in reviewed_tasks(store, name):
            if task.task.batch in batches:
                tasks.setdefault(task.task.key, []).append(task)
    if not tasks:
        raise UsageError("no drawn task has been reviewed yet: `vestigo label push`, then `vestigo label pull`")
    error = reviewer_error(schema, (task for found in tasks.values() for task in found))
    count = len(tasks)
    if learnt_from_reviews(store, model):
        tasks = {key: found for key, found in tasks.items() if is_test(who_of(found[0].task))}
        if not tasks:
            raise UsageError(
                f"model {model.name} has learnt from reviews and is judged on the fifth of the people that no model "
                f"learns from: none of the {count} reviewed tasks is about them; review more"
            )
    keys = list(tasks)
    missed = np.ones(len(keys))
    for name in names:
        missed *= 1 - _reviewed_with(store, name, keys)
    said = {key: {who: answer for task in found for who, answer in task.said.items()} for key, found in tasks.items()}
    crops = {crop: place for place, key in enumerate(keys) for crop in tasks[key][0].task.crops}
    agreed = [agree(said[key]) for key in keys]
    reviewed, ids = _crops(
        pick or partial(store.crops.select, model=model.digest), schema, crops, agreed, 1 - missed, error
    )
    if not len(reviewed.task):
        raise UsageError(
            f"model {model.name} ({model.digest[:12]}) has no crop of what was reviewed: index the archive with it"
        )
    missing = len(keys) - len(np.unique(reviewed.task))
    asked = tuple(tasks[key][0].task for key in keys)
    return ReviewSample(reviewed=reviewed, crops=ids, tasks=asked, missing=missing, learnt=count - len(keys))


def learnt_from_reviews(store: Store, model: Model) -> bool:
    """Whether a model, or one that it descends from, was trained on labels of the store."""
    known = {one.digest: one for one in store.models.list()}
    seen: set[str] = set()
    digest: str | None = model.digest
    while digest in known and digest not in seen:
        seen.add(digest)
        if known[digest].origin.get("label_set") is not None:
            return True
        digest = known[digest].parent
    return False


def who_of(task: LabelTask) -> str:
    """The person of a task, as `vestigo.promotion.splits.identity_key` names people."""
    return identity_key(pid=task.pid, tracklet=task.tracklet, crop=task.crops[0])


def _asking(store: Store, schema: AttributeSchema) -> list[str]:
    return [project.name for project in store.review.projects() if project.schema == schema]


def _reviewed_with(store: Store, project: str, keys: Collection[str]) -> NDArray[np.float64]:
    """(T,) how likely each task was drawn and reviewed in a project."""
    batches = [batch for batch in store.review.batches(project) if not batch.imported]
    if not batches:
        return np.zeros(len(keys))
    probabilities, shares, thinned = [], [], np.zeros(len(keys))
    for batch in batches:
        known = store.review.sampling_probabilities(batch.id, keys)
        row = np.array([known.get(key, 0.0) for key in keys])
        probabilities.append(row)
        thinned = np.maximum(thinned, np.where(row > 0, batch.draw.thinned, 0.0))
        shares.append(store.review.task_counts(project, batch.id)["answered"] / max(1, batch.tasks))
    return thinned * combine_rounds(np.array(probabilities), np.array(shares))


def _crops(
    pick: Pick,
    schema: AttributeSchema,
    crops: Mapping[str, int],
    agreed: Sequence[Agreed],
    probability: NDArray[np.float64],
    error: ReviewerError,
) -> tuple[Reviewed, NDArray[np.str_]]:
    answers = np.array([[_class(schema, name, one.answers) for name in schema.names] for one in agreed], dtype=np.int64)
    margins = np.array([[one.margins.get(name, 0) for name in schema.names] for one in agreed], dtype=np.int64)
    ids: list[str] = []
    cameras, times, tables = [], [], []
    for batch in pick(crops, COLUMNS):
        ids += batch.column("crop_id").to_pylist()
        cameras += batch.column("camera").to_pylist()
        times.append(batch.column("time").to_numpy(zero_copy_only=False).astype("datetime64[us]"))
        tables.append(matrix(batch.column("attributes")).reshape(batch.num_rows, schema.classes))
    task = np.array([crops[crop] for crop in ids], dtype=np.int64)
    shares = np.concatenate(tables) if tables else np.zeros((0, schema.classes), np.float32)
    groups = [shares[:, schema.slice(name)] for name in schema.names]
    reviewed = Reviewed(
        schema=schema,
        probability=probability,
        task=task,
        predicted=np.stack([group.argmax(axis=1) for group in groups], axis=1),
        confidence=np.stack([group.max(axis=1) for group in groups], axis=1),
        answer=answers[task],
        camera=np.array(cameras, dtype=np.str_),
        time=np.concatenate(times) if times else np.zeros(0, "datetime64[us]"),
        margins=margins[task],
        error=error,
    )
    return reviewed, np.array(ids, dtype=np.str_)


def _class(schema: AttributeSchema, name: str, answers: Mapping[str, str]) -> int:
    if name not in answers:
        return UNANSWERED
    return UNTOLD if answers[name] == CANNOT_TELL else schema[name].values.index(answers[name])
