"""Review in the store: projects, samples of tasks, their state on the labelling server, and versions of the labels."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.parquet.files import DataRoot, WrittenFile
from vestigo.store.parquet.schemas import DRAW, LABELS
from vestigo.store.review.records import LabelProject, LabelSample, LabelSet, LabelTask, NewTask, SamplingDesign
from vestigo.store.runs.rows import add_files
from vestigo.store.sql.database import Database, chunks, to_record
from vestigo.store.sql.tables import (
    DataFileRow,
    LabelAnswerRow,
    LabelBatchRow,
    LabelProjectRow,
    LabelSetRow,
    LabelTaskRow,
    ModelRow,
)
from vestigo_models.errors import StoreError
from vestigo_models.schemas.attributes import AttributeSchema

FOLDER = "review"
"""Folder of the files, in place of a run's id."""
PAGE_ROWS = 500


@dataclass(frozen=True)
class ReviewRepository:
    """The review projects of a store. Every method that changes something is one transaction.

    Tasks are named by their keys, which are derived from their crops and never change. Methods raise `StoreError` for
    an unknown project.
    """

    database: Database
    root: DataRoot

    def projects(self) -> list[LabelProject]:
        """Return the projects, by name."""
        rows = self.database.scalars(select(LabelProjectRow).order_by(LabelProjectRow.name))
        return [_to_project(row) for row in rows]

    def find_project(self, name: str) -> LabelProject | None:
        """Return a project, None if there is none of that name."""
        row = self.database.fetch(lambda session: session.get(LabelProjectRow, name))
        return None if row is None else _to_project(row)

    def get_project(self, name: str) -> LabelProject:
        """Return a project."""
        return self.database.fetch(lambda session: _to_project(project_row(session, name)))

    def ensure_project(self, name: str, schema: AttributeSchema) -> LabelProject:
        """Create a project, or return the existing one.

        Raises:
            StoreError: If the existing project has another schema; the message names the attributes.
        """

        def ensure(session: Session) -> LabelProject:
            row = session.get(LabelProjectRow, name, with_for_update=True)
            if row is None:
                row = LabelProjectRow(name=name, created=datetime.now(UTC), schema=schema.to_dict())
                session.add(row)
                session.flush()
            project = _to_project(row)
            if differences := _schema_differences(project.schema, schema):
                raise StoreError(
                    f"project {name} has other attributes than the model predicts ({'; '.join(differences)}): "
                    "review this model in a project of another name"
                )
            return project

        return self.database.change(ensure)

    def link_project(self, name: str, server: str, remote_id: int) -> None:
        """Record the address (without credentials) and the id of a project in Label Studio."""

        def link(session: Session) -> None:
            row = project_row(session, name)
            row.server, row.remote_id = server, remote_id

        self.database.change(link)

    def save_sample(
        self, project: str, design: SamplingDesign, tasks: Sequence[NewTask], probabilities: Iterable[pa.RecordBatch]
    ) -> int:
        """Save a sample of tasks, in the order of their review, and return its id.

        `probabilities` are those of inclusion of every task of the population, with the columns of `DRAW`.

        Raises:
            StoreError: If the project or model is unknown, or a task has been sampled before.
        """
        with self.root.pending(FOLDER):
            file = self.root.write("draw", FOLDER, 0, probabilities, DRAW)
            fault_point("draw.before")
            return self.database.change(lambda session: add_sample(session, project, design, tasks, file))

    def samples(self, project: str) -> list[LabelSample]:
        """Return the samples of a project, oldest first."""
        counts = select(LabelTaskRow.sample, func.count()).where(LabelTaskRow.project == project)
        rows = select(LabelBatchRow).where(LabelBatchRow.project == project).order_by(LabelBatchRow.id)

        def read(session: Session) -> list[LabelSample]:
            tasks = dict(session.execute(counts.group_by(LabelTaskRow.sample)).all())
            return [_to_sample(row, tasks.get(row.id, 0)) for row in session.scalars(rows)]

        return self.database.fetch(read)

    def inclusion_probabilities(self, sample: int, keys: Collection[str]) -> dict[str, float]:
        """Return the inclusion probability of tasks in a sample by key, without tasks outside its population."""
        file = select(DataFileRow.path).join(LabelBatchRow, LabelBatchRow.data_file_id == DataFileRow.id)
        probabilities: dict[str, float] = {}
        for path in self.database.scalars(file.where(LabelBatchRow.id == sample)):
            for rows in self.root.read(path):
                selected = rows.filter(pc.is_in(rows.column("task"), pa.array(sorted(keys), pa.string())))
                probabilities.update(zip(*(column.to_pylist() for column in selected.columns), strict=True))
        return probabilities

    def existing_keys(self, project: str, keys: Collection[str]) -> set[str]:
        """Return the keys for which the project has a task."""
        return self.database.fetch(lambda session: existing_keys(session, project, keys))

    def tasks(
        self, project: str, *, states: Collection[str] | None = None, rows: int = PAGE_ROWS
    ) -> Iterator[list[LabelTask]]:
        """Yield the tasks of a project, all or those in some states, by sample and position, `rows` at a time."""
        query = (
            select(LabelTaskRow, LabelBatchRow.model)
            .join(LabelBatchRow, LabelBatchRow.id == LabelTaskRow.sample)
            .where(LabelTaskRow.project == project)
            .order_by(LabelTaskRow.sample, LabelTaskRow.position)
            .limit(rows)
        )
        if states is not None:
            query = query.where(LabelTaskRow.state.in_(states))
        place, last = tuple_(LabelTaskRow.sample, LabelTaskRow.position), (-1, -1)
        while True:
            rows_after = self.database.rows(query.where(place > last))
            page = [to_record(LabelTask, row, model=model) for row, model in rows_after]
            if not page:
                return
            yield page
            last = (page[-1].sample, page[-1].position)

    def task_counts(self, project: str, sample: int | None = None) -> dict[str, int]:
        """Return the number of tasks, or of those of one sample, in each state, and as `answered` with annotations."""
        chosen = [LabelTaskRow.project == project, *([] if sample is None else [LabelTaskRow.sample == sample])]
        states = select(LabelTaskRow.state, func.count()).where(*chosen).group_by(LabelTaskRow.state)
        answered = (
            select(func.count(LabelAnswerRow.task_id.distinct()))
            .join(LabelTaskRow, LabelTaskRow.id == LabelAnswerRow.task_id)
            .where(*chosen)
        )
        return self.database.fetch(
            lambda session: {**dict(session.execute(states).all()), "answered": session.scalar(answered) or 0}
        )

    def mark_pushed(self, project: str, remote_ids: Mapping[str, int]) -> None:
        """Record the server's ids of tasks, by key, and set the tasks to `pushed`, also deleted ones."""

        def mark(session: Session) -> None:
            for row in task_rows(session, project, remote_ids):
                row.remote_id, row.state = remote_ids[row.key], "pushed"
            session.flush()
            fault_point("pushed.inside")

        self.database.change(mark)

    def mark_deleted(self, project: str, keys: Collection[str]) -> int:
        """Record that the server no longer has tasks, and delete their annotations; return how many changed state."""

        def mark(session: Session) -> int:
            rows = [row for row in task_rows(session, project, keys) if row.state != "deleted"]
            for chunk in chunks([row.id for row in rows]):
                session.execute(delete(LabelAnswerRow).where(LabelAnswerRow.task_id.in_(chunk)))
            for row in rows:
                row.state, row.remote_id = "deleted", None
            return len(rows)

        return self.database.change(mark)


@dataclass(frozen=True)
class LabelSetRepository:
    """The label sets of a store. A version is never changed or deleted."""

    database: Database
    root: DataRoot

    def save(self, rows: Iterable[pa.RecordBatch], *, digest: str, tasks: int, projects: tuple[str, ...]) -> LabelSet:
        """Save labels, with the columns of `LABELS`, as the next version; `digest` is that of the rows."""
        with self.root.pending(FOLDER):
            file = self.root.write("labels", FOLDER, 0, rows, LABELS)
            fault_point("labels.before")

            def save(session: Session) -> LabelSet:
                (file_id,) = add_files(session, [file])
                facts = {"digest": digest, "labels": file.rows, "tasks": tasks, "projects": projects}
                row = LabelSetRow(created=datetime.now(UTC), data_file_id=file_id, **facts)
                session.add(row)
                session.flush()
                return to_record(LabelSet, row)

            return self.database.change(save)

    def list(self) -> Sequence[LabelSet]:
        """Return the versions, oldest first."""
        return self.database.records(LabelSet, select(LabelSetRow).order_by(LabelSetRow.version))

    def load(self, version: int) -> tuple[LabelSet, Iterator[pa.RecordBatch]]:
        """Return a version and its rows.

        Raises:
            StoreError: If the store has no such version; the message lists those that it has.
        """

        def read(session: Session) -> tuple[LabelSet, str]:
            row = session.get(LabelSetRow, version)
            if row is None:
                versions = session.scalars(select(LabelSetRow.version).order_by(LabelSetRow.version))
                known = ", ".join(map(str, versions)) or "none yet"
                raise StoreError(f"label set {version} is not in the store; its versions are: {known}")
            return to_record(LabelSet, row), session.get_one(DataFileRow, row.data_file_id).path

        label_set, path = self.database.fetch(read)
        return label_set, self.root.read(path)


def project_row(session: Session, name: str, *, lock: bool = False) -> LabelProjectRow:
    """Return the row of a project; raise `StoreError` with the known names if there is none."""
    row = session.get(LabelProjectRow, name, with_for_update=lock)
    if row is None:
        known = ", ".join(session.scalars(select(LabelProjectRow.name).order_by(LabelProjectRow.name))) or "none yet"
        raise StoreError(f"project {name} is not in the store (there are: {known}): `vestigo label push` makes one")
    return row


def add_sample(
    session: Session, project: str, design: SamplingDesign, tasks: Sequence[NewTask], file: WrittenFile | None
) -> int:
    """Add a sample and its tasks and return its id; `file` is None for imported tasks."""
    project_row(session, project)
    if session.get(ModelRow, design.model) is None:
        raise StoreError(f"model {design.model} is not registered in the store: index with it first")
    if known := existing_keys(session, project, [task.key for task in tasks]):
        raise StoreError(
            f"task {min(known)} of project {project} was sampled before, by another command: repeat the command"
        )
    (file_id,) = [None] if file is None else add_files(session, [file])
    row = LabelBatchRow(project=project, created=datetime.now(UTC), data_file_id=file_id, **vars(design))
    session.add(row)
    session.flush()
    fault_point("draw.inside")
    if tasks:
        state = "imported" if file is None else "drawn"
        new = [task_columns(task, row, position, state) for position, task in enumerate(tasks)]
        session.execute(insert(LabelTaskRow), new)
    return row.id


def existing_keys(session: Session, project: str, keys: Collection[str]) -> set[str]:
    """Return the keys for which a project has a task."""
    return {row.key for row in task_rows(session, project, keys)}


def task_rows(session: Session, project: str, keys: Iterable[str]) -> Iterator[LabelTaskRow]:
    """Yield the rows of a project's tasks with some keys."""
    for chunk in chunks(list(keys)):
        yield from session.scalars(
            select(LabelTaskRow).where(LabelTaskRow.project == project, LabelTaskRow.key.in_(chunk))
        )


def task_columns(task: NewTask, sample: LabelBatchRow, position: int, state: str) -> dict[str, Any]:
    """Return the columns of a new task."""
    return {**vars(task), "project": sample.project, "sample": sample.id, "position": position, "state": state}


def _to_project(row: LabelProjectRow) -> LabelProject:
    return to_record(LabelProject, row, schema=AttributeSchema.from_dict(row.schema))


def _to_sample(row: LabelBatchRow, tasks: int) -> LabelSample:
    design = to_record(SamplingDesign, row)
    return to_record(LabelSample, row, design=design, tasks=tasks, imported=row.data_file_id is None)


def _schema_differences(project: AttributeSchema, model: AttributeSchema) -> list[str]:
    missing = [f"only the project has {name}" for name in project.names if name not in model.names]
    new = [f"only the model has {name}" for name in model.names if name not in project.names]
    changed = [
        f"{name} has other values"
        for name in model.names
        if name in project.names and project[name].values != model[name].values
    ]
    return missing + new + changed
