"""Agreed labels as rows: a version of them in the store, a CSV file, and both read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from vestigo.review.labels.agreement import ReviewedTask, predicted_value, reviewed_tasks
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import LABELS
from vestigo.store.review.records import LabelSet
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

BATCH_ROWS = 10_000


def label_rows(schema: AttributeSchema, reviewed: ReviewedTask) -> list[dict[str, Any]]:
    """Rows of `store.schema.LABELS`, one for each attribute that was agreed on, in the order of the schema."""
    task = reviewed.task
    rows = []
    for name in schema.names:
        if name not in reviewed.agreed.answers:
            continue
        predicted, confidence = predicted_value(schema, name, task.prediction) if task.prediction else ("", None)
        rows.append(
            {
                "project": task.project,
                "task": task.key,
                "source": task.source,
                "tracklet": task.tracklet,
                "camera": task.camera,
                "time": task.time,
                "pid": task.pid,
                "crops": list(task.crops),
                "attribute": name,
                "value": reviewed.agreed.answers[name],
                "predicted": predicted,
                "confidence": confidence,
                "model": task.model,
                "reviewers": sorted(who for who, said in reviewed.said.items() if name in said),
                "answered": reviewed.answered,
            }
        )
    return rows


def all_labels(store: Store, projects: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the label rows of projects, in order of project, batch, position and attribute; memory is one page."""
    for name in sorted(projects):
        schema = store.review.get_project(name).schema
        for reviewed in reviewed_tasks(store, name):
            yield from label_rows(schema, reviewed)


def freeze(store: Store, projects: Sequence[str] | None = None) -> LabelSet:
    """Keep what is agreed on now, in all projects by default, as a version of labels; the newest if it says the same.

    Raises:
        UsageError: nothing is agreed on yet.
        StoreError: an unknown project.
    """
    names = tuple(sorted(projects or (project.name for project in store.review.projects())))
    digest, tasks = hashlib.sha256(), set()
    for row in all_labels(store, names):
        digest.update(json.dumps(row, default=str, sort_keys=True).encode())
        tasks.add((row["project"], row["task"]))
    if not tasks:
        raise UsageError(
            f"no label is agreed on in {', '.join(names) or 'this store'} yet: `vestigo label push` asks reviewers, "
            "`vestigo label pull` fetches what they said"
        )
    for version in store.label_sets.list()[-1:]:
        if version.digest == digest.hexdigest():
            return version
    rows = _batches(all_labels(store, names))
    return store.label_sets.save(rows, digest=digest.hexdigest(), tasks=len(tasks), projects=names)


def kept_labels(store: Store, kept: LabelSet) -> Iterator[dict[str, Any]]:
    """Yield the label rows of a version."""
    return (row for batch in store.label_sets.load(kept.version)[1] for row in batch.to_pylist())


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(held, LABELS)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, LABELS)
