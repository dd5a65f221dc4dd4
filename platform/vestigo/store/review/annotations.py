"""Answers of reviewers in the catalogue: a mirror of what the server had when it was last seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.review import tasks as review
from vestigo.store.review.records import LabelAnswer, LabelTask
from vestigo.store.sql.database import chunks
from vestigo.store.sql.review_tables import LabelAnswerRow, LabelTaskRow
from vestigo_models.errors import StoreError


def answers_of(session: Session, name: str, keys: Collection[str]) -> dict[str, tuple[LabelAnswer, ...]]:
    """Return the answers to tasks by key, in order of the server's ids; tasks without any are left out."""
    found: dict[str, list[LabelAnswer]] = {}
    for some in chunks(list(keys)):
        rows = (
            select(LabelTaskRow.key, LabelAnswerRow)
            .join(LabelAnswerRow, LabelAnswerRow.task_id == LabelTaskRow.id)
            .where(LabelTaskRow.project == name, LabelTaskRow.key.in_(some))
            .order_by(LabelAnswerRow.remote_id)
        )
        for key, row in session.execute(rows):
            found.setdefault(key, []).append(LabelAnswer(row.remote_id, row.reviewer, row.answered, row.answers))
    return {key: tuple(answers) for key, answers in found.items()}


def record_answers(session: Session, name: str, answers: Mapping[str, Sequence[LabelAnswer]]) -> int:
    """Replace the answers to exactly these tasks (by key); return how many are new, changed or gone.

    Raises StoreError for a task that the project does not have.
    """
    if unknown := answers.keys() - review.existing(session, name, list(answers)):
        raise StoreError(f"task {min(unknown)} is not one of project {name}")
    known = answers_of(session, name, list(answers))
    changed = 0
    for some in chunks(list(answers)):
        ids = {row.key: row.id for row in review.task_rows(session, name, some)}
        for key in some:
            before = {answer.remote_id: answer for answer in known.get(key, ())}
            after = {answer.remote_id: answer for answer in answers[key]}
            if before == after:
                continue
            changed += sum(before.get(one) != after.get(one) for one in before.keys() | after.keys())
            session.execute(delete(LabelAnswerRow).where(LabelAnswerRow.task_id == ids[key]))
            session.add_all(_answer(ids[key], answer) for answer in after.values())
    session.flush()
    fault_point("answers.inside")
    return changed


def put_answer(
    session: Session, task: LabelTask, reviewer: str, answered: datetime, answers: Mapping[str, str]
) -> None:
    """Record what somebody says of a task that no server has, in the place of what they said before."""
    held = answers_of(session, task.project, [task.key]).get(task.key, ())
    number = next((one.remote_id for one in held if one.reviewer == reviewer), None)
    if number is None:
        number = max((one.remote_id for one in held), default=0) + 1
    others = [one for one in held if one.reviewer != reviewer]
    record_answers(session, task.project, {task.key: [*others, LabelAnswer(number, reviewer, answered, answers)]})


def counts(session: Session, name: str, batch: int | None) -> dict[str, int]:
    """Return how many tasks a project, or one batch of it, has in each state, and as `answered` with an answer."""
    chosen = [LabelTaskRow.project == name, *([] if batch is None else [LabelTaskRow.batch_id == batch])]
    states = select(LabelTaskRow.state, func.count()).where(*chosen).group_by(LabelTaskRow.state)
    answered = (
        select(func.count(LabelAnswerRow.task_id.distinct()))
        .join(LabelTaskRow, LabelTaskRow.id == LabelAnswerRow.task_id)
        .where(*chosen)
    )
    return {**dict(session.execute(states).all()), "answered": session.scalar(answered) or 0}


def version(session: Session) -> str:
    """Return what names all answers as they are: it is another one when an answer came, changed or went."""
    columns = func.count(), func.max(LabelAnswerRow.id), func.max(LabelAnswerRow.answered)
    return " ".join(str(value) for value in session.execute(select(*columns)).one())


def _answer(task: int, answer: LabelAnswer) -> LabelAnswerRow:
    return LabelAnswerRow(
        task_id=task,
        remote_id=answer.remote_id,
        reviewer=answer.reviewer,
        answered=answer.answered,
        answers=dict(answer.answers),
    )
