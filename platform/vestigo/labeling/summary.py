"""Where the review of a project stands: what was asked and answered, what reviewers changed, where they differ."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vestigo.labeling.form import CANNOT_TELL
from vestigo.labeling.reviewed import reviewed_tasks
from vestigo.labeling.reviewers import reviewer_error
from vestigo.store import Store

NAMED = 20
"""At most so many conflicts are written out."""


def review_status(store: Store, name: str) -> dict[str, Any]:
    """Counts of a project, plain data; memory is one page of tasks. Raises StoreError for an unknown project."""
    project = store.require_label_project(name)
    counts = store.label_counts(name)
    corrected: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    untold: Counter[str] = Counter()
    reviewers: Counter[str] = Counter()
    conflicts: list[str] = []
    total = 0
    for task in reviewed_tasks(store, name):
        reviewers.update(task.said.keys())
        answered.update(task.agreed.answers.keys())
        untold.update(one for one, value in task.agreed.answers.items() if value == CANNOT_TELL)
        corrected.update(task.corrections(project.schema).keys())
        total += len(task.agreed.conflicts)
        where = f"task {task.task.remote_id or task.task.key[:12]}"
        conflicts += [f"{where}, {one}" for one in task.agreed.conflicts][: NAMED - len(conflicts)]
    error = reviewer_error(project.schema, reviewed_tasks(store, name))
    return {
        "project": name,
        "server": project.server,
        "project_id": project.remote_id,
        "tasks": sum(counts.get(state, 0) for state in ("drawn", "pushed", "imported")),
        "waiting": counts.get("drawn", 0),
        "deleted": counts.get("deleted", 0),
        "reviewed": counts["answered"],
        "corrections": sum(corrected.values()),
        "conflicts": total,
        "conflicting": conflicts,
        "attributes": {
            one: {"answered": answered[one], "corrected": corrected[one], "cannot_tell": untold[one]}
            for one in project.schema.names
        },
        "reviewers": dict(reviewers.most_common()),
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
            for batch in store.label_batches(name)
        ],
    }
