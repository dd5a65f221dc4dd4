"""Projects, draws and tasks of review in the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.review.records import Draw, LabelBatch, LabelProject, LabelTask, NewTask, Unit
from vestigo.store.runs.records import WrittenFile
from vestigo.store.runs.shards import file_row
from vestigo.store.sql.database import chunks
from vestigo.store.sql.review_tables import LabelAnswerRow, LabelBatchRow, LabelProjectRow, LabelTaskRow
from vestigo.store.sql.tables import DataFileRow, ModelRow
from vestigo_models.errors import StoreError
from vestigo_models.schemas.attributes import AttributeSchema


def projects(session: Session) -> list[LabelProject]:
    """Return the projects, by name."""
    return [_project(row) for row in session.scalars(select(LabelProjectRow).order_by(LabelProjectRow.name))]


def project(session: Session, name: str) -> LabelProject | None:
    """Return a project, None where there is none of that name."""
    row = session.get(LabelProjectRow, name)
    return None if row is None else _project(row)


def require_project(session: Session, name: str) -> LabelProject:
    """Return a project. Raises StoreError, naming those there are."""
    return _project(_project_row(session, name))


def make_project(session: Session, name: str, schema: AttributeSchema) -> LabelProject:
    """Make a project, or return the one there is. Raises StoreError where its schema is another."""
    row = session.get(LabelProjectRow, name, with_for_update=True)
    if row is None:
        row = LabelProjectRow(name=name, created=datetime.now(UTC), schema=schema.to_dict())
        session.add(row)
        session.flush()
    there = _project(row)
    if changed := _differences(there.schema, schema):
        raise StoreError(
            f"project {name} asks for other attributes than the model predicts ({'; '.join(changed)}): "
            "review this model in a project of another name"
        )
    return there


def link_project(session: Session, name: str, server: str, remote_id: int) -> None:
    """Say where Label Studio has a project. Raises StoreError for an unknown one."""
    row = _project_row(session, name)
    row.server, row.remote_id = server, remote_id


def save_batch(session: Session, name: str, draw: Draw, tasks: Sequence[NewTask], file: WrittenFile | None) -> int:
    """Record a draw and its tasks, in the order in which they are to be reviewed; return the batch's id.

    Raises StoreError for an unknown project or model, and for a task that was recorded before.
    """
    _project_row(session, name)
    if session.get(ModelRow, draw.model) is None:
        raise StoreError(f"model {draw.model} is not registered in the store: index with it first")
    if known := existing(session, name, [task.key for task in tasks]):
        raise StoreError(f"task {min(known)} of project {name} was drawn before, by another command: go again")
    kept = None
    if file is not None:
        kept = file_row(file, "visible")
        session.add(kept)
        session.flush()
    row = LabelBatchRow(
        project=name,
        created=datetime.now(UTC),
        model_digest=draw.model,
        strategy=draw.strategy,
        unit=draw.unit,
        budget=draw.budget,
        seed=draw.seed,
        population=draw.population,
        thinned=draw.thinned,
        data_file_id=None if kept is None else kept.id,
    )
    session.add(row)
    session.flush()
    fault_point("draw.inside")
    if tasks:
        state = "imported" if file is None else "drawn"
        session.execute(insert(LabelTaskRow), [_new(task, row, place, state) for place, task in enumerate(tasks)])
    return row.id


def put_task(session: Session, name: str, draw: Draw, task: NewTask) -> LabelTask:
    """Record a task that nobody drew in the newest batch made like this, or a new one; one that is there says what its
    model says from now on. Raises StoreError as `save_batch`."""
    _project_row(session, name, lock=True)
    alike = (
        select(LabelBatchRow)
        .where(LabelBatchRow.project == name, LabelBatchRow.data_file_id.is_(None))
        .where(LabelBatchRow.model_digest == draw.model, LabelBatchRow.strategy == draw.strategy)
        .where(LabelBatchRow.unit == draw.unit)
        .order_by(LabelBatchRow.id.desc())
        .limit(1)
    )
    batch = session.scalar(alike)
    if batch is None:
        batch = session.get_one(LabelBatchRow, save_batch(session, name, draw, [], None))
    row = next(task_rows(session, name, [task.key]), None)
    if row is None or row.batch_id != batch.id:
        last = session.scalar(select(func.max(LabelTaskRow.position)).where(LabelTaskRow.batch_id == batch.id))
        told = _new(task, batch, 0 if last is None else last + 1, "imported")
        if row is None:
            row = LabelTaskRow(**told)
            session.add(row)
        else:
            for column, value in told.items():
                setattr(row, column, value)
    session.flush()
    return _task(row, batch.model_digest)


def batches(session: Session, name: str) -> list[LabelBatch]:
    """Return the batches of a project, oldest first."""
    counts = select(LabelTaskRow.batch_id, func.count()).where(LabelTaskRow.project == name)
    tasks = dict(session.execute(counts.group_by(LabelTaskRow.batch_id)).all())
    rows = session.scalars(select(LabelBatchRow).where(LabelBatchRow.project == name).order_by(LabelBatchRow.id))
    return [
        LabelBatch(row.id, row.project, row.created, _draw(row), tasks.get(row.id, 0), row.data_file_id is None)
        for row in rows
    ]


def draw_file(session: Session, batch: int) -> str | None:
    """Return the path of the file that says how likely each task was drawn, None for an imported batch."""
    found = select(DataFileRow.path).join(LabelBatchRow, LabelBatchRow.data_file_id == DataFileRow.id)
    return session.scalar(found.where(LabelBatchRow.id == batch))


def tasks_after(
    session: Session, name: str, states: Collection[str] | None, batch: int | None, after: tuple[int, int], rows: int
) -> list[LabelTask]:
    """Return the next `rows` tasks behind the place `after` (batch, position)."""
    place = (LabelTaskRow.batch_id > after[0]) | (
        (LabelTaskRow.batch_id == after[0]) & (LabelTaskRow.position > after[1])
    )
    found = (
        select(LabelTaskRow, LabelBatchRow.model_digest)
        .join(LabelBatchRow, LabelBatchRow.id == LabelTaskRow.batch_id)
        .where(LabelTaskRow.project == name, place)
        .order_by(LabelTaskRow.batch_id, LabelTaskRow.position)
        .limit(rows)
    )
    if states is not None:
        found = found.where(LabelTaskRow.state.in_(states))
    if batch is not None:
        found = found.where(LabelTaskRow.batch_id == batch)
    return [_task(row, model) for row, model in session.execute(found)]


def existing(session: Session, name: str, keys: Collection[str]) -> set[str]:
    """Return those of `keys` that a project has a task for."""
    return {row.key for some in chunks(list(keys)) for row in task_rows(session, name, some)}


def mark_pushed(session: Session, name: str, remote: Mapping[str, int]) -> None:
    """Say under which ids the server has tasks, by key; those that were taken for deleted are back."""
    for some in chunks(list(remote)):
        for row in task_rows(session, name, some):
            row.remote_id, row.state = remote[row.key], "pushed"


def mark_deleted(session: Session, name: str, keys: Collection[str]) -> int:
    """Say that the server has tasks no longer; their answers go with them. Returns how many it had until now."""
    changed = 0
    for some in chunks(list(keys)):
        rows = [row for row in task_rows(session, name, some) if row.state != "deleted"]
        session.execute(delete(LabelAnswerRow).where(LabelAnswerRow.task_id.in_([row.id for row in rows])))
        gone = update(LabelTaskRow).where(LabelTaskRow.id.in_([row.id for row in rows]))
        session.execute(gone.values(state="deleted", remote_id=None))
        changed += len(rows)
    return changed


def _project_row(session: Session, name: str, *, lock: bool = False) -> LabelProjectRow:
    row = session.get(LabelProjectRow, name, with_for_update=lock)
    if row is None:
        known = ", ".join(one.name for one in projects(session)) or "none yet"
        raise StoreError(f"project {name} is not in the store (there are: {known}): `vestigo label push` makes one")
    return row


def task_rows(session: Session, name: str, keys: Iterable[str]) -> Iterator[LabelTaskRow]:
    """Yield the rows of tasks by key, those that there are."""
    wanted = select(LabelTaskRow).where(LabelTaskRow.project == name, LabelTaskRow.key.in_(list(keys)))
    return iter(session.scalars(wanted))


def _new(task: NewTask, batch: LabelBatchRow, place: int, state: str) -> dict[str, Any]:
    told = vars(task) | {"crops": list(task.crops), "prediction": list(task.prediction)}
    return told | {"project": batch.project, "batch_id": batch.id, "position": place, "state": state}


def _project(row: LabelProjectRow) -> LabelProject:
    return LabelProject(row.name, row.created, AttributeSchema.from_dict(row.schema), row.server, row.remote_id)


def _draw(row: LabelBatchRow) -> Draw:
    return Draw(
        model=row.model_digest,
        strategy=row.strategy,
        unit=cast("Unit", row.unit),
        budget=row.budget,
        seed=row.seed,
        population=row.population,
        thinned=row.thinned,
    )


def _task(row: LabelTaskRow, model: str) -> LabelTask:
    names = ("id", "project", "key", "position", "source", "tracklet", "camera", "time", "pid", "state", "remote_id")
    told = {name: getattr(row, name) for name in names}
    return LabelTask(**told, batch=row.batch_id, crops=tuple(row.crops), prediction=tuple(row.prediction), model=model)


def _differences(there: AttributeSchema, wanted: AttributeSchema) -> list[str]:
    """In what two schemas ask for different things, a few words for each attribute."""
    gone = [f"it asks for {name}" for name in there.names if name not in wanted.names]
    new = [f"the model has {name}" for name in wanted.names if name not in there.names]
    other = [
        f"{name} has other values"
        for name in wanted.names
        if name in there.names and there[name].values != wanted[name].values
    ]
    return gone + new + other
