"""Progress of a project: counts of annotations, corrections and conflicts."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from vestigo.review.estimates.annotator_error import AnnotationPairs, add_pairs, count_pairs, estimate_annotator_error
from vestigo.review.labels.agreement import CANNOT_TELL, Conflict, annotated_tasks
from vestigo.store.open import Store
from vestigo.store.review.records import LabelTask
from vestigo_models.schemas.attributes import AttributeSchema

MAX_CONFLICTS = 20  # conflicts that are listed one by one
KINDS = ("answered", "corrected", "cannot_tell")


@dataclass(kw_only=True)
class ReviewProgress:
    """Progress of a project, from one pass over its tasks."""

    schema: AttributeSchema
    answered: Counter[str] = field(default_factory=Counter)  # attribute to number of labels
    corrected: Counter[str] = field(default_factory=Counter)  # attribute to labels that differ from the prediction
    cannot_tell: Counter[str] = field(default_factory=Counter)  # attribute to labels "cannot tell"
    annotators: Counter[str] = field(default_factory=Counter)  # annotator to number of tasks, most first
    pairs: dict[str, AnnotationPairs]  # pairs of annotations by attribute
    conflicts: list[tuple[LabelTask, Conflict]] = field(default_factory=list)  # the first `MAX_CONFLICTS`
    conflict_count: int = 0  # number of all conflicts
    days: Counter[date] = field(default_factory=Counter)  # day (UTC) of a task's newest annotation to number of tasks


def review_progress(store: Store, name: str) -> ReviewProgress:
    """Read the progress of a project; memory is one page of tasks."""
    schema = store.review.get_project(name).schema
    progress = ReviewProgress(schema=schema, pairs=count_pairs(schema, ()))
    for task in annotated_tasks(store, name):
        labels, disputed = task.consensus.labels, task.consensus.conflicts
        add_pairs(progress.pairs, task)
        progress.annotators.update(task.annotations.keys())
        progress.answered.update(labels.keys())
        progress.cannot_tell.update(attribute for attribute, label in labels.items() if label == CANNOT_TELL)
        progress.corrected.update(task.corrections(schema).keys())
        progress.days[task.updated.date()] += 1
        progress.conflict_count += len(disputed)
        listed = disputed[: MAX_CONFLICTS - len(progress.conflicts)]
        progress.conflicts += [(task.task, conflict) for conflict in listed]
    progress.annotators = Counter(dict(progress.annotators.most_common()))
    progress.days = Counter(dict(sorted(progress.days.items())))
    return progress


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
        "corrections": progress.corrected.total(),
        "conflicts": progress.conflict_count,
        "conflicting": [f"task {task.remote_id or task.key[:12]}, {conflict}" for task, conflict in progress.conflicts],
        "attributes": {
            attribute: {kind: getattr(progress, kind)[attribute] for kind in KINDS}
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
