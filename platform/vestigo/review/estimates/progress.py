"""Progress of a project: counts of annotations, corrections and conflicts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from vestigo.review.estimates.annotator_error import AnnotationPairs, add_pairs, count_pairs, estimate_annotator_error
from vestigo.review.labels.agreement import CANNOT_TELL, Conflict, annotated_tasks
from vestigo.store.open import Store
from vestigo.store.review.records import LabelTask
from vestigo_models.schemas.attributes import AttributeSchema

MAX_CONFLICTS = 20
"""Conflicts that are listed one by one."""


@dataclass(frozen=True, kw_only=True)
class ReviewProgress:
    """Progress of a project, from one pass over its tasks."""

    schema: AttributeSchema
    answered: Mapping[str, int]  # attribute to number of labels
    corrected: Mapping[str, int]  # attribute to number of labels that differ from the prediction
    cannot_tell: Mapping[str, int]  # attribute to number of labels "cannot tell"
    annotators: Mapping[str, int]  # annotator to number of tasks, most first
    pairs: Mapping[str, AnnotationPairs]  # pairs of annotations by attribute
    conflicts: tuple[tuple[LabelTask, Conflict], ...]  # the first `MAX_CONFLICTS` with their tasks
    conflict_count: int  # number of all conflicts
    days: Mapping[date, int]  # day (UTC) of a task's newest annotation to number of tasks


def review_progress(store: Store, name: str) -> ReviewProgress:
    """Read the progress of a project; memory is one page of tasks."""
    schema = store.review.get_project(name).schema
    counters: list[Counter[str]] = [Counter() for _ in range(4)]
    answered, corrected, cannot_tell, annotators = counters
    days: Counter[date] = Counter()
    pairs = count_pairs(schema, ())
    conflicts: list[tuple[LabelTask, Conflict]] = []
    conflict_count = 0
    for task in annotated_tasks(store, name):
        labels, disputed = task.consensus.labels, task.consensus.conflicts
        add_pairs(pairs, task)
        annotators.update(task.annotations.keys())
        answered.update(labels.keys())
        cannot_tell.update(attribute for attribute, label in labels.items() if label == CANNOT_TELL)
        corrected.update(task.corrections(schema).keys())
        days[task.updated.date()] += 1
        conflict_count += len(disputed)
        conflicts.extend((task.task, conflict) for conflict in disputed[: MAX_CONFLICTS - len(conflicts)])
    return ReviewProgress(
        schema=schema,
        answered=answered,
        corrected=corrected,
        cannot_tell=cannot_tell,
        annotators=dict(annotators.most_common()),
        pairs=pairs,
        conflicts=tuple(conflicts),
        conflict_count=conflict_count,
        days=dict(sorted(days.items())),
    )


def review_status(store: Store, name: str) -> dict[str, Any]:
    """Return the counts of a project as plain data, the `--json` output of `vestigo label status`."""
    project = store.review.get_project(name)
    counts = store.review.task_counts(name)
    progress = review_progress(store, name)
    error = estimate_annotator_error(project.schema, progress.pairs)
    return {
        "project": name,
        "server": project.server,
        "project_id": project.remote_id,
        "tasks": sum(counts.get(state, 0) for state in ("drawn", "pushed", "imported")),
        "waiting": counts.get("drawn", 0),
        "deleted": counts.get("deleted", 0),
        "reviewed": counts["answered"],
        "corrections": sum(progress.corrected.values()),
        "conflicts": progress.conflict_count,
        "conflicting": [f"task {task.remote_id or task.key[:12]}, {conflict}" for task, conflict in progress.conflicts],
        "attributes": {
            attribute: {
                "answered": progress.answered.get(attribute, 0),
                "corrected": progress.corrected.get(attribute, 0),
                "cannot_tell": progress.cannot_tell.get(attribute, 0),
            }
            for attribute in project.schema.names
        },
        "reviewers": dict(progress.annotators),
        "reviewer_error": error.rate if error.pairs else None,
        "batches": [
            {
                "batch": batch.id,
                "created": batch.created,
                "strategy": batch.design.strategy,
                "unit": batch.design.unit,
                "tasks": batch.tasks,
                "population": batch.design.population,
                "model": batch.design.model,
            }
            for batch in store.review.samples(name)
        ],
    }
