"""Label sets: immutable versions of all agreed labels."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from vestigo.review.labels.agreement import AnnotatedTask, annotated_tasks, predicted_value
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import LABELS
from vestigo.store.review.records import LabelSet
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

BATCH_ROWS = 10_000


def _label_rows(schema: AttributeSchema, annotated: AnnotatedTask) -> Iterator[dict[str, Any]]:
    """Yield rows of `store.parquet.schemas.LABELS`, one for each label, in the order of the schema."""
    task, labels = annotated.task, annotated.consensus.labels
    facts = ("project", "source", "tracklet", "camera", "time", "pid", "model")
    for name in [name for name in schema.names if name in labels]:
        predicted, confidence = predicted_value(schema, name, task.prediction) if task.prediction else ("", None)
        yield {
            **{fact: getattr(task, fact) for fact in facts},
            "task": task.key,
            "crops": list(task.crops),
            "attribute": name,
            "value": labels[name],
            "predicted": predicted,
            "confidence": confidence,
            "reviewers": sorted(person for person, values in annotated.annotations.items() if name in values),
            "answered": annotated.updated,
        }


def current_labels(store: Store, projects: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the label rows of projects, in order of project, batch, position and attribute; memory is one page."""
    for name in sorted(projects):
        schema = store.review.get_project(name).schema
        for annotated in annotated_tasks(store, name):
            yield from _label_rows(schema, annotated)


def save_label_set(store: Store, projects: Sequence[str] | None = None) -> LabelSet:
    """Save the current labels of projects (default: all) as a version; the newest version if it has the same labels."""
    names = tuple(sorted(projects or (project.name for project in store.review.projects())))
    digest, tasks = hashlib.sha256(), set()
    for row in current_labels(store, names):
        digest.update(json.dumps(row, default=str, sort_keys=True).encode())
        tasks.add((row["project"], row["task"]))
    if not tasks:
        raise UsageError(
            f"no label is agreed on in {', '.join(names) or 'this store'} yet: `vestigo label push` sends tasks to "
            "annotators, `vestigo label pull` fetches their annotations"
        )
    for newest in store.label_sets.list()[-1:]:
        if newest.digest == digest.hexdigest():
            return newest
    labels = current_labels(store, names)
    batches = (pa.RecordBatch.from_pylist(rows, LABELS) for rows in iter(lambda: list(islice(labels, BATCH_ROWS)), []))
    return store.label_sets.save(batches, digest=digest.hexdigest(), tasks=len(tasks), projects=names)


def read_label_set(store: Store, label_set: LabelSet) -> Iterator[dict[str, Any]]:
    """Yield the label rows of a version."""
    return (row for batch in store.label_sets.load(label_set.version)[1] for row in batch.to_pylist())
