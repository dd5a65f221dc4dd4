"""Corrections of one sighting on the screen: annotations of a task that was not sampled.

Training and exports use them like other labels. Estimates of precision leave them out, because people correct what
looks wrong.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np

from vestigo.resolve import require_attributes
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.review.sampling.candidates import task_key
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.review.records import Annotation, LabelTask, NewTask, SamplingDesign, Unit
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

PROJECT = "corrections"
STRATEGY = "corrected in place"
TASK_COLUMNS = ("crop_id", "source", "tracklet", "camera", "time", "pid")
CORRECTION_COLUMNS = (*TASK_COLUMNS, "quality", "attributes")


def is_corrections_project(project: str) -> bool:
    """Whether a project's name is reserved for corrections."""
    return re.fullmatch(rf"{PROJECT}( \d+)?", project) is not None


def reject_corrections_project(project: str) -> None:
    """Raise UsageError if a project's name is reserved."""
    if is_corrections_project(project):
        raise UsageError(f"project {project} is reserved for corrections on the screen: choose another name")


def corrections_project(store: Store, schema: AttributeSchema) -> str:
    """Return the name of the project for corrections with a schema."""
    for number in count(1):
        name = PROJECT if number == 1 else f"{PROJECT} {number}"
        project = store.review.find_project(name)
        # A project of this name in Label Studio can be older than corrections.
        if project is None or (project.server is None and project.schema == schema):
            return name
    raise AssertionError


def correction_task(rows: Sequence[Mapping[str, Any]]) -> NewTask:
    """Return the task of a sighting from `CORRECTION_COLUMNS` of all crops of a tracklet, or of a single crop.

    Its key is that of the same tracklet in samples; its prediction is the mean over its crops.
    """
    best_first = sorted(rows, key=lambda row: (-row["quality"], row["crop_id"]))
    return make_task(best_first, "tracklet" if best_first[0]["tracklet"] else "crop")


def make_task(rows: Sequence[Mapping[str, Any]], unit: Unit) -> NewTask:
    """Return the task of crops of one person: rows of `TASK_COLUMNS` and `attributes` (M,); the first names it."""
    first = rows[0]
    mean = np.mean([row["attributes"] for row in rows], axis=0)
    times = [row["time"] for row in rows if row["time"] is not None]
    return NewTask(
        key=task_key(unit, first),
        **{name: first[name] for name in ("source", "tracklet", "camera", "pid")},
        time=min(times, default=None),
        crops=tuple(row["crop_id"] for row in rows),
        prediction=tuple(round(float(p), 6) for p in mean),
    )


def correct_sighting(
    store: Store,
    model: Model,
    rows: Sequence[Mapping[str, Any]],
    values: Mapping[str, str],
    *,
    user: str,
    case: str | None = None,
    authority: str | None = None,
) -> LabelTask:
    """Record a user's annotation of a sighting (attribute to value or "cannot tell") together with an audit entry.

    It replaces the user's earlier annotation; annotations of others stay. `rows` are those of `correction_task`.

    Raises:
        UsageError: If there is no value, the schema does not have a value, or the model predicts no attributes.
    """
    schema = require_attributes(model)
    if not values:
        raise UsageError("no value is given: choose a value of at least one attribute")
    for name, value in values.items():
        allowed = (*schema[name].values, CANNOT_TELL)
        if value not in allowed:
            raise UsageError(f"{name} {value!r} is not one of {', '.join(allowed)}")
    task = correction_task(rows)
    project = corrections_project(store, schema)
    store.review.ensure_project(project, schema)
    unit: Unit = "tracklet" if task.tracklet else "crop"
    design = SamplingDesign(model=model.digest, strategy=STRATEGY, unit=unit, budget=1, seed=0, population=0)
    return store.annotations.correct(
        project, design, task, user=user, answered=datetime.now(UTC), answers=values, case=case, authority=authority
    )


def find_corrections(store: Store, model: Model, rows: Sequence[Mapping[str, Any]]) -> tuple[Annotation, ...]:
    """Return the corrections of a sighting, one for each annotator."""
    key = correction_task(rows).key
    return store.annotations.get(corrections_project(store, require_attributes(model)), [key]).get(key, ())
