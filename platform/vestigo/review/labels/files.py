"""Label files: CSV for other tools, labels of identities for the public `.mat` structure, and their import."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vestigo.csv_files import csv_writer, read_csv_rows
from vestigo.datasets.attributes_csv import count_votes, require_value
from vestigo.datasets.attributes_mat import IdentityLabels
from vestigo.resolve import require_attributes
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.review.labels.corrections import TASK_COLUMNS, make_task, reject_corrections_project
from vestigo.review.sampling.candidates import task_key
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import matrix
from vestigo.store.parquet.schemas import LABELS
from vestigo.store.review.records import Annotation, NewTask, SamplingDesign
from vestigo_models.errors import DatasetError, UsageError
from vestigo_models.schemas.attributes import AttributeSchema

LIST_COLUMNS, SEPARATOR = ("crops", "reviewers"), ";"


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write label rows (columns of `store.parquet.schemas.LABELS`) atomically and return their number."""

    def to_cells(row: Mapping[str, Any]) -> dict[str, Any]:
        lists = {name: SEPARATOR.join(row[name] or ()) for name in LIST_COLUMNS}
        times = {name: row[name].isoformat() if row[name] else "" for name in ("time", "answered")}
        return {**row, **lists, **times}

    with csv_writer(path, LABELS.names) as table:
        return table.write_all(map(to_cells, rows))


def read_csv(path: Path, schema: AttributeSchema) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file with the columns crops, attribute and value; raise DatasetError for an invalid one."""
    for where, row in read_csv_rows(path, ("crops", "attribute", "value")):
        name = row["attribute"]
        if name not in schema.names:
            raise DatasetError(f"{where}: {name!r} is not an attribute of {schema.name}: {', '.join(schema.names)}")
        require_value(schema, name, row["value"], where)
        try:
            answered = datetime.fromisoformat(row["answered"]) if row.get("answered") else datetime.now(UTC)
        except ValueError:
            raise DatasetError(f"{where}: {row['answered']!r} is not a time as in 2026-05-01T08:00:00+00:00") from None
        answered = answered if answered.tzinfo else answered.replace(tzinfo=UTC)
        lists = {key: [part for part in (row.get(key) or "").split(SEPARATOR) if part] for key in LIST_COLUMNS}
        yield {**row, **lists, "answered": answered}


def identity_labels(
    rows: Iterable[Mapping[str, Any]], pids: Mapping[str, int], schema: AttributeSchema
) -> IdentityLabels:
    """Reduce label rows (columns of `store.parquet.schemas.LABELS`) to one label for each identity and attribute.

    The value of most tasks wins, and of equally frequent ones the first of the schema. "Cannot tell" is missing. `pids`
    is crop id to identity; rows of other crops are skipped.
    """
    votes = (
        (pid, row["attribute"], row["value"])
        for row in rows
        if row["value"] != CANNOT_TELL
        for pid in {pids[crop] for crop in row["crops"] if crop in pids}
    )
    return count_votes(votes, schema)


@dataclass(frozen=True, kw_only=True)
class CropLabels:
    """Labels that a file has for some crops: attribute to value, by whom and when."""

    crops: tuple[str, ...]
    values: dict[str, str]
    annotators: tuple[str, ...]
    updated: datetime


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """Counts of an import; `unknown` crops are not in the store and were skipped."""

    tasks: int
    created: int
    labels: int
    unknown: int


def group_label_rows(rows: Iterable[Mapping[str, Any]], origin: str) -> list[CropLabels]:
    """Group label rows (see `read_csv`) by crops; rows without annotators get `origin` as the annotator."""
    groups: dict[tuple[str, ...], CropLabels] = {}
    for row in rows:
        crops = tuple(row["crops"])
        if crops not in groups:
            annotators = tuple(row["reviewers"]) or (origin,)
            groups[crops] = CropLabels(crops=crops, values={}, annotators=annotators, updated=row["answered"])
        groups[crops].values[row["attribute"]] = row["value"]
    return list(groups.values())


def match_identity_labels(
    store: Store, model: Model, splits: Iterable[IdentityLabels], origin: str
) -> Iterator[CropLabels]:
    """Yield the labels of identities for the store's crops with these identities, one for each task."""
    labels: dict[int, dict[str, str]] = {}
    for split in splits:
        for pid, row in zip(split.pids.tolist(), split.labels.tolist(), strict=True):
            named = zip(split.schema.attributes, row, strict=True)
            labels.setdefault(pid, {}).update({a.name: a.values[value] for a, value in named if value >= 0})
    groups: dict[str, tuple[int, list[str]]] = {}
    pids = pa.array(sorted(labels), pa.int32())
    for batch in store.crops.scan(TASK_COLUMNS, model=model.digest):
        for row in batch.filter(pc.is_in(batch.column("pid"), pids)).to_pylist():
            groups.setdefault(task_key("tracklet", row), (row["pid"], []))[1].append(row["crop_id"])
    now = datetime.now(UTC)
    for pid, crops in groups.values():
        if labels[pid]:
            yield CropLabels(crops=tuple(crops), values=labels[pid], annotators=(origin,), updated=now)


def import_labels(store: Store, project: str, model: Model, labels: Sequence[CropLabels], origin: str) -> ImportResult:
    """Record labels in a project of their own; existing labels of the same crops are replaced.

    Raises:
        UsageError: If the project belongs to Label Studio or to corrections, or no crop is in the store.
    """
    reject_corrections_project(project)
    existing = store.review.find_project(project)
    if existing is not None and existing.server is not None:
        raise UsageError(f"project {project} is one of Label Studio; import into a project of another name")
    crops = {crop for group in labels for crop in group.crops}
    rows: dict[str, dict[str, Any]] = {}
    for batch in store.crops.select(crops, (*TASK_COLUMNS, "attributes"), model=model.digest):
        predictions = matrix(batch.column("attributes"))
        for row, prediction in zip(batch.select(TASK_COLUMNS).to_pylist(), predictions, strict=True):
            rows[row["crop_id"]] = {**row, "attributes": prediction}
    tasks: dict[str, NewTask] = {}
    annotations: dict[str, list[Annotation]] = {}
    for group in labels:
        present = [rows[crop] for crop in group.crops if crop in rows]
        if present:
            task = make_task(present, "tracklet" if len(present) > 1 else "crop")
            tasks[task.key] = task
            people = enumerate(group.annotators, 1)
            annotations[task.key] = [Annotation(number, name, group.updated, group.values) for number, name in people]
    if not tasks:
        raise UsageError(f"{origin}: none of its crops is in the store; index the archive that it is about")
    store.review.ensure_project(project, require_attributes(model))
    known = store.review.existing_keys(project, list(tasks))
    new = [task for key, task in tasks.items() if key not in known]
    design = SamplingDesign(
        model=model.digest, strategy=Path(origin).name, unit="tracklet", budget=len(new), seed=0, population=0
    )
    if new:
        store.annotations.import_tasks(project, design, new, {task.key: annotations[task.key] for task in new})
    store.annotations.replace(project, {key: annotations[key] for key in tasks if key in known})
    return ImportResult(
        tasks=len(tasks),
        created=len(new),
        labels=sum(len(group.values) for group in labels),
        unknown=len(crops - rows.keys()),
    )
