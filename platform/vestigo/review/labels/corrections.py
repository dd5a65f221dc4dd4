"""One tracklet corrected where it is looked at: an answer like those of reviewers, to a task that nobody drew.

It is learnt from and exported as other labels are, and takes no part in precision: who picks what to correct picks what
looks wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from vestigo.resolve import require_attributes
from vestigo.review.label_studio.form import CANNOT_TELL
from vestigo.review.labels.importing import FACTS, given_task, in_place_project
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.review.records import Draw, LabelAnswer, LabelTask, NewTask, Unit
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

NEEDED = (*FACTS, "quality", "attributes")
"""Columns of the crops that are corrected together."""
STRATEGY = "corrected in place"


def correction_task(rows: Sequence[Mapping[str, Any]]) -> NewTask:
    """The task of a sighting: `rows` (`NEEDED`) are all crops of a tracklet, or a single still.

    Its key is that of the same tracklet in draws; what a model says of it is the mean over its crops, best first.
    """
    best = sorted(rows, key=lambda row: (-row["quality"], row["crop_id"]))
    named = [{**row, "prediction": row["attributes"]} for row in best]
    return given_task(named, "tracklet" if best[0]["tracklet"] else "crop")


def correct(
    store: Store,
    model: Model,
    rows: Sequence[Mapping[str, Any]],
    answers: Mapping[str, str],
    *,
    user: str,
    case: str | None = None,
    authority: str | None = None,
) -> LabelTask:
    """Record what somebody says of a sighting that `model` predicted, and that they did in the audit log.

    What the same person said of it before is replaced; what others said stays, as opinions beside it. answers:
    attribute to value or "cannot tell".

    Raises:
        UsageError: no answer, or one that the schema does not have; a model that predicts no attributes.
    """
    schema = require_attributes(model)
    _understood(schema, answers)
    task = correction_task(rows)
    project = in_place_project(store, schema)
    store.review.ensure_project(project, schema)
    unit: Unit = "tracklet" if task.tracklet else "crop"
    draw = Draw(model=model.digest, strategy=STRATEGY, unit=unit, budget=1, seed=0, population=0)
    now = datetime.now(UTC)
    return store.annotations.correct(
        project, draw, task, user=user, answered=now, answers=answers, case=case, authority=authority
    )


def corrections_of(store: Store, model: Model, rows: Sequence[Mapping[str, Any]]) -> tuple[LabelAnswer, ...]:
    """What people said of a sighting in place, an answer each."""
    key = correction_task(rows).key
    return store.annotations.get(in_place_project(store, require_attributes(model)), [key]).get(key, ())


def _understood(schema: AttributeSchema, answers: Mapping[str, str]) -> None:
    if not answers:
        raise UsageError("nothing was answered: choose a value of at least one attribute")
    for name, value in answers.items():
        values = (*schema[name].values, CANNOT_TELL)
        if value not in values:
            raise UsageError(f"{name} {value!r} is not one of {', '.join(values)}")
