"""Labels from files into the store: tasks that nobody drew, with the answers that came with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vestigo.datasets.attributes_mat import IdentityLabels
from vestigo.resolve import require_attributes
from vestigo.review.sampling.candidates import task_key
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import matrix
from vestigo.store.review.records import Draw, LabelAnswer, NewTask, Unit
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

IN_PLACE = "corrections"


def is_in_place(project: str) -> bool:
    """Whether a project's name is kept for corrections in place."""
    return re.fullmatch(rf"{IN_PLACE}( \d+)?", project) is not None


def require_free(project: str) -> None:
    """Raise UsageError for a name that is kept for corrections in place."""
    if is_in_place(project):
        raise UsageError(f"project {project} holds what people correct in place: choose another name")


def in_place_project(store: Store, schema: AttributeSchema) -> str:
    """The name of the project that corrections of these attributes go to; models with others have others."""
    for number in count(1):
        name = IN_PLACE if number == 1 else f"{IN_PLACE} {number}"
        held = store.review.find_project(name)
        # A server may have one of this name that is older than corrections are.
        if held is None or (held.server is None and held.schema == schema):
            return name
    raise AssertionError


FACTS = ("crop_id", "source", "tracklet", "camera", "time", "pid")


@dataclass(frozen=True, kw_only=True)
class GivenLabels:
    """What a file says of some crops: attribute to answer, by whom and when."""

    crops: tuple[str, ...]
    answers: dict[str, str]
    reviewers: tuple[str, ...]
    answered: datetime


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did; `unknown` crops are not in the store and were passed over."""

    tasks: int
    created: int
    answers: int
    unknown: int


def given_by_rows(rows: Iterable[Mapping[str, Any]], origin: str) -> list[GivenLabels]:
    """Put label rows (see `exporting.read_csv`) of the same crops together; where nobody is named, `origin` is."""
    found: dict[tuple[str, ...], GivenLabels] = {}
    for row in rows:
        crops = tuple(row["crops"])
        held = found.get(crops)
        if held is None:
            reviewers = tuple(row["reviewers"]) or (origin,)
            held = found[crops] = GivenLabels(crops=crops, answers={}, reviewers=reviewers, answered=row["answered"])
        held.answers[row["attribute"]] = row["value"]
    return list(found.values())


def given_by_identities(
    store: Store, model: Model, splits: Iterable[IdentityLabels], origin: str
) -> Iterator[GivenLabels]:
    """What annotations of identities say of the crops of a store that have these identities, a task of each."""
    labels: dict[int, dict[str, str]] = {}
    for people in splits:
        for pid, row in zip(people.pids.tolist(), people.labels, strict=True):
            named = zip(people.schema.attributes, row.tolist(), strict=True)
            labels.setdefault(pid, {}).update({a.name: a.values[value] for a, value in named if value >= 0})
    groups: dict[str, tuple[int, list[str]]] = {}
    wanted = pa.array(sorted(labels), pa.int32())
    for batch in store.crops.scan(FACTS, model=model.digest):
        for row in batch.filter(pc.is_in(batch.column("pid"), wanted)).to_pylist():
            groups.setdefault(task_key("tracklet", row), (row["pid"], []))[1].append(row["crop_id"])
    now = datetime.now(UTC)
    for pid, crops in groups.values():
        if labels[pid]:
            yield GivenLabels(crops=tuple(crops), answers=labels[pid], reviewers=(origin,), answered=now)


def import_labels(store: Store, project: str, model: Model, given: Sequence[GivenLabels], origin: str) -> Imported:
    """Record labels in a project of their own; what it has of the same crops already is replaced.

    Raises:
        UsageError: the project is one of Label Studio, whose truth is there, or of what people corrected in place, or
            no crop is in the store.
    """
    schema = require_attributes(model)
    require_free(project)
    held = store.review.find_project(project)
    if held is not None and held.server is not None:
        raise UsageError(f"project {project} is one of Label Studio; import into a project of another name")
    facts = _facts(store, model, {crop for one in given for crop in one.crops})
    tasks: dict[str, NewTask] = {}
    answers: dict[str, list[LabelAnswer]] = {}
    for one in given:
        rows = [facts[crop] for crop in one.crops if crop in facts]
        if rows:
            task = given_task(rows, "tracklet" if len(rows) > 1 else "crop")
            tasks[task.key] = task
            answers[task.key] = [
                LabelAnswer(number, who, one.answered, one.answers) for number, who in enumerate(one.reviewers, 1)
            ]
    if not tasks:
        raise UsageError(f"{origin}: none of its crops is in the store; index the archive that it is about")
    store.review.ensure_project(project, schema)
    known = store.review.existing_keys(project, list(tasks))
    new = [task for key, task in tasks.items() if key not in known]
    draw = Draw(model=model.digest, strategy=Path(origin).name, unit="tracklet", budget=len(new), seed=0, population=0)
    if new:
        store.annotations.import_tasks(project, draw, new, {task.key: answers[task.key] for task in new})
    store.annotations.replace(project, {key: answers[key] for key in tasks if key in known})
    named = {crop for one in given for crop in one.crops}
    return Imported(
        tasks=len(tasks),
        created=len(new),
        answers=sum(len(one.answers) for one in given),
        unknown=len(named - facts.keys()),
    )


def _facts(store: Store, model: Model, crops: set[str]) -> dict[str, dict[str, Any]]:
    """Rows of those crops that the store has, with `prediction` (M,)."""
    wanted = pa.array(sorted(crops), pa.string())
    found: dict[str, dict[str, Any]] = {}
    for batch in store.crops.scan((*FACTS, "attributes"), model=model.digest):
        some = batch.filter(pc.is_in(batch.column("crop_id"), wanted))
        predictions = matrix(some.column("attributes"))
        for row, prediction in zip(some.select(FACTS).to_pylist(), predictions, strict=True):
            found[row["crop_id"]] = {**row, "prediction": prediction}
    return found


def given_task(rows: Sequence[Mapping[str, Any]], unit: Unit) -> NewTask:
    """The task of some crops of one person, the first of which names it; rows of `FACTS` and `prediction` (M,)."""
    first = rows[0]
    mean = np.mean([row["prediction"] for row in rows], axis=0)
    times = [row["time"] for row in rows if row["time"] is not None]
    return NewTask(
        key=task_key(unit, first),
        **{name: first[name] for name in ("source", "tracklet", "camera", "pid")},
        time=min(times, default=None),
        crops=tuple(row["crop_id"] for row in rows),
        prediction=tuple(round(float(p), 6) for p in mean),
    )
