"""Annotations in the store: a copy of what the labelling server had when it was last read, and corrections."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Unpack

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from vestigo.store.audit.log import AuditContext, append_entry, printable
from vestigo.store.faults import fault_point
from vestigo.store.review.records import Annotation, LabelTask, NewTask, SamplingDesign
from vestigo.store.review.repository import add_sample, existing_keys, project_row, task_columns, task_rows
from vestigo.store.sql.database import Database, chunks, to_record
from vestigo.store.sql.tables import LabelAnswerRow, LabelBatchRow, LabelTaskRow
from vestigo_models.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AnnotationRepository:
    """The annotations of a store. Every method that changes something is one transaction.

    Methods raise `StoreError` for an unknown project, model or task.
    """

    database: Database

    def __call__(self, project: str | None = None) -> pd.DataFrame:
        """Return all annotations as a DataFrame, of one project or of all.

        Returns:
            A row for each annotated attribute: project, task, annotator, annotated (time), attribute and value;
            the value is "cannot tell" where the annotator could not decide.
        """
        import pandas as pd

        statement = select(LabelTaskRow.project, LabelTaskRow.key, LabelAnswerRow).join(
            LabelAnswerRow, LabelAnswerRow.task_id == LabelTaskRow.id
        )
        if project is not None:
            self.database.fetch(lambda session: project_row(session, project))
            statement = statement.where(LabelTaskRow.project == project)
        columns = ["project", "task", "annotator", "annotated", "attribute", "value"]
        rows = [
            (name, key, row.annotator, row.answered, attribute, value)
            for name, key, row in self.database.rows(statement.order_by(LabelAnswerRow.id))
            for attribute, value in row.answers.items()
        ]
        return pd.DataFrame(rows, columns=columns)

    def get(self, project: str, keys: Collection[str]) -> dict[str, tuple[Annotation, ...]]:
        """Return the annotations of tasks by key, in order of the server's ids; without tasks that have none."""
        return self.database.fetch(lambda session: _annotations(session, project, keys))

    def version(self) -> str:
        """Return a text that changes whenever an annotation is added, changed or deleted."""
        columns = func.count(), func.max(LabelAnswerRow.id), func.max(LabelAnswerRow.answered)
        return " ".join(map(str, self.database.rows(select(*columns))[0]))

    def replace(self, project: str, annotations: Mapping[str, Sequence[Annotation]]) -> int:
        """Replace the annotations of tasks, given by key; return how many are new, changed or deleted."""
        return self.database.change(lambda session: _replace(session, project, annotations))

    def import_tasks(
        self,
        project: str,
        design: SamplingDesign,
        tasks: Sequence[NewTask],
        annotations: Mapping[str, Sequence[Annotation]],
    ) -> int:
        """Record tasks that were not sampled together with their annotations; return the sample's id."""

        def record(session: Session) -> int:
            sample = add_sample(session, project, design, tasks, None)
            _replace(session, project, annotations)
            return sample

        return self.database.change(record)

    def correct(
        self,
        project: str,
        design: SamplingDesign,
        task: NewTask,
        *,
        user: str,
        answered: datetime,
        answers: Mapping[str, str],
        **context: Unpack[AuditContext],
    ) -> LabelTask:
        """Record the annotation of a task that was not sampled, and its audit entry in the same transaction.

        The task belongs to a sample with the model, strategy and unit of `design`; an existing task takes the
        prediction of that model. An earlier annotation of the same user is replaced.
        """
        annotator = printable(user)

        def record(session: Session) -> LabelTask:
            saved = _put_task(session, project, design, task)
            present = _annotations(session, project, [task.key]).get(task.key, ())
            others = [annotation for annotation in present if annotation.annotator != annotator]
            own = [annotation.remote_id for annotation in present if annotation.annotator == annotator]
            number = own[0] if own else max((annotation.remote_id for annotation in present), default=0) + 1
            _replace(session, project, {task.key: [*others, Annotation(number, annotator, answered, answers)]})
            details = {"project": project, "task": task.key, "crops": len(task.crops), "crop": task.crops[0]}
            details |= {"model": design.model, "answers": dict(answers)}
            append_entry(session, user=user, action="correct", details=details, **context)
            return saved

        return self.database.change(record)


def _annotations(session: Session, project: str, keys: Collection[str]) -> dict[str, tuple[Annotation, ...]]:
    annotations: dict[str, list[Annotation]] = {}
    for chunk in chunks(list(keys)):
        rows = (
            select(LabelTaskRow.key, LabelAnswerRow)
            .join(LabelAnswerRow, LabelAnswerRow.task_id == LabelTaskRow.id)
            .where(LabelTaskRow.project == project, LabelTaskRow.key.in_(chunk))
            .order_by(LabelAnswerRow.remote_id)
        )
        for key, row in session.execute(rows):
            annotations.setdefault(key, []).append(to_record(Annotation, row))
    return {key: tuple(of_task) for key, of_task in annotations.items()}


def _replace(session: Session, project: str, annotations: Mapping[str, Sequence[Annotation]]) -> int:
    if unknown := annotations.keys() - existing_keys(session, project, list(annotations)):
        raise StoreError(f"task {min(unknown)} is not one of project {project}")
    present = _annotations(session, project, list(annotations))
    changed = 0
    for task in task_rows(session, project, annotations):
        before = {annotation.remote_id: annotation for annotation in present.get(task.key, ())}
        after = {annotation.remote_id: annotation for annotation in annotations[task.key]}
        if before == after:
            continue
        changed += sum(before.get(number) != after.get(number) for number in before.keys() | after.keys())
        session.execute(delete(LabelAnswerRow).where(LabelAnswerRow.task_id == task.id))
        session.add_all(
            LabelAnswerRow(task_id=task.id, **vars(annotation) | {"answers": dict(annotation.answers)})
            for annotation in after.values()
        )
    session.flush()
    fault_point("answers.inside")
    return changed


def _put_task(session: Session, project: str, design: SamplingDesign, task: NewTask) -> LabelTask:
    """Record a task in the newest imported sample of the same model, strategy and unit, or in a new one."""
    project_row(session, project, lock=True)
    same = (
        select(LabelBatchRow)
        .where(LabelBatchRow.project == project, LabelBatchRow.data_file_id.is_(None))
        .where(LabelBatchRow.model == design.model, LabelBatchRow.strategy == design.strategy)
        .where(LabelBatchRow.unit == design.unit)
        .order_by(LabelBatchRow.id.desc())
        .limit(1)
    )
    sample = session.scalar(same)
    if sample is None:
        sample = session.get_one(LabelBatchRow, add_sample(session, project, design, [], None))
    row = next(task_rows(session, project, [task.key]), None)
    if row is None or row.sample != sample.id:
        last = session.scalar(select(func.max(LabelTaskRow.position)).where(LabelTaskRow.sample == sample.id))
        columns = task_columns(task, sample, 0 if last is None else last + 1, "imported")
        row = row or LabelTaskRow()
        for column, value in columns.items():
            setattr(row, column, value)
        session.add(row)
    session.flush()
    return to_record(LabelTask, row, model=sample.model)
