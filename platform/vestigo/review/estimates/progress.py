"""Where the review of a project stands: what was asked and answered, what reviewers changed, where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from vestigo.review.estimates.annotator_error import Pairs, answer_pairs, pairs_error
from vestigo.review.label_studio.form import CANNOT_TELL
from vestigo.review.labels.agreement import Conflict, ReviewedTask, reviewed_tasks
from vestigo.store.open import Store
from vestigo.store.review.records import LabelTask
from vestigo_models.schemas.attributes import AttributeSchema

NAMED = 20
"""At most so many conflicts are written out."""


@dataclass(frozen=True)
class OpenConflict:
    """A question on which the reviewers of a task do not agree."""

    task: LabelTask
    conflict: Conflict


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the review of a project stands, from one pass over its tasks.

    Attributes:
        answered, corrected, untold: by attribute; what was agreed on, that differs from the model, "cannot tell".
        pairs: by attribute, see `answer_pairs`.
        conflicts: the first `NAMED`, of `conflicting`.
        days: (UTC) day of a task's newest answer to tasks.
    """

    schema: AttributeSchema
    answered: Mapping[str, int]
    corrected: Mapping[str, int]
    untold: Mapping[str, int]
    reviewers: Mapping[str, int]
    pairs: Mapping[str, Pairs]
    conflicts: tuple[OpenConflict, ...]
    conflicting: int
    days: Mapping[date, int]


def review_progress(store: Store, name: str) -> Progress:
    """Read where a project stands; memory is one page of tasks. Raises StoreError for an unknown project."""
    schema = store.review.get_project(name).schema
    answered: Counter[str] = Counter()
    corrected: Counter[str] = Counter()
    untold: Counter[str] = Counter()
    reviewers: Counter[str] = Counter()
    days: Counter[date] = Counter()
    conflicts: list[OpenConflict] = []
    total = 0

    def read() -> Iterator[ReviewedTask]:
        nonlocal total
        for task in reviewed_tasks(store, name):
            reviewers.update(task.said.keys())
            answered.update(task.agreed.answers.keys())
            untold.update(one for one, value in task.agreed.answers.items() if value == CANNOT_TELL)
            corrected.update(task.corrections(schema).keys())
            days[task.answered.date()] += 1
            total += len(task.agreed.conflicts)
            conflicts.extend(OpenConflict(task.task, one) for one in task.agreed.conflicts[: NAMED - len(conflicts)])
            yield task

    pairs = answer_pairs(schema, read())
    return Progress(
        schema=schema,
        answered=answered,
        corrected=corrected,
        untold=untold,
        reviewers=dict(reviewers.most_common()),
        pairs=pairs,
        conflicts=tuple(conflicts),
        conflicting=total,
        days=dict(sorted(days.items())),
    )


def review_status(store: Store, name: str) -> dict[str, Any]:
    """Counts of a project, plain data; memory is one page of tasks. Raises StoreError for an unknown project."""
    project = store.review.get_project(name)
    counts = store.review.task_counts(name)
    found = review_progress(store, name)
    error = pairs_error(project.schema, found.pairs)
    return {
        "project": name,
        "server": project.server,
        "project_id": project.remote_id,
        "tasks": sum(counts.get(state, 0) for state in ("drawn", "pushed", "imported")),
        "waiting": counts.get("drawn", 0),
        "deleted": counts.get("deleted", 0),
        "reviewed": counts["answered"],
        "corrections": sum(found.corrected.values()),
        "conflicts": found.conflicting,
        "conflicting": [f"task {one.task.remote_id or one.task.key[:12]}, {one.conflict}" for one in found.conflicts],
        "attributes": {
            one: {
                "answered": found.answered.get(one, 0),
                "corrected": found.corrected.get(one, 0),
                "cannot_tell": found.untold.get(one, 0),
            }
            for one in project.schema.names
        },
        "reviewers": dict(found.reviewers),
        "reviewer_error": error.rate if error.pairs else None,
        "batches": [
            {
                "batch": batch.id,
                "created": batch.created,
                "strategy": batch.draw.strategy,
                "unit": batch.draw.unit,
                "tasks": batch.tasks,
                "population": batch.draw.population,
                "model": batch.draw.model,
            }
            for batch in store.review.batches(name)
        ],
    }
