"""Check of the ledger: inputs = done with rows + done and empty + quarantined + pending."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from vestigo.store.runs.repository import run_totals
from vestigo.store.runs.rows import OUTPUT
from vestigo.store.sql.tables import DataFileRow, InputRow, RunRow, ShardRow

ALLOWED = {
    "pending": {"pending"},
    "done": {"done", "empty", "quarantined"},
    "quarantined": {"quarantined"},
    "split": set[str](),
}
"""Possible states of the inputs of a shard, by the state of the shard."""


def ledger_problems(session: Session) -> Iterator[str]:
    """Yield one line for each contradiction in the catalogue."""
    yield from _equation(session)
    yield from _states(session)
    yield from _rows(session)
    yield from _files(session)


def _equation(session: Session) -> Iterator[str]:
    for run in session.scalars(select(RunRow).order_by(RunRow.created)):
        counted = run_totals(session, run.id)
        settled = counted.done + counted.empty + counted.quarantined
        if not counted.inputs == settled + counted.pending == run.planned_inputs:
            yield (
                f"run {run.id} planned {run.planned_inputs} inputs, holds {counted.inputs}: {counted.done} done, "
                f"{counted.empty} empty, {counted.quarantined} quarantined, {counted.pending} pending"
            )
        if run.status == "succeeded" and counted.pending:
            yield f"run {run.id} succeeded with {counted.pending} inputs pending"


def _states(session: Session) -> Iterator[str]:
    pairs = select(ShardRow.id, ShardRow.state, InputRow.state).join(InputRow, InputRow.shard_id == ShardRow.id)
    wrong = [(ShardRow.state == shard) & InputRow.state.not_in(states) for shard, states in ALLOWED.items()]
    contradictory = or_(*wrong, ShardRow.state.not_in(ALLOWED))
    for shard, state, input_state in session.execute(pairs.where(contradictory).distinct()):
        yield f"shard {shard} is {state} and has an input that is {input_state}"
    contradictory_input = (
        ((InputRow.state == "done") & (InputRow.rows <= 0))
        | ((InputRow.state != "done") & (InputRow.rows != 0))
        | ((InputRow.state == "quarantined") & InputRow.reason.is_(None))
    )
    for shard, name, state, rows in session.execute(
        select(InputRow.shard_id, InputRow.name, InputRow.state, InputRow.rows).where(contradictory_input)
    ):
        yield f"input {name} of shard {shard} is {state} with {rows} rows, or without a reason"


def _rows(session: Session) -> Iterator[str]:
    counted = select(InputRow.shard_id, func.sum(InputRow.rows).label("rows")).group_by(InputRow.shard_id).subquery()
    for kind, output in OUTPUT.items():
        written = (
            select(DataFileRow.shard_id, func.sum(DataFileRow.rows).label("rows"))
            .where(DataFileRow.kind == output)
            .group_by(DataFileRow.shard_id)
            .subquery()
        )
        query = (
            select(ShardRow.id, counted.c.rows, func.coalesce(written.c.rows, 0))
            .join(counted, counted.c.shard_id == ShardRow.id)
            .outerjoin(written, written.c.shard_id == ShardRow.id)
            .where(ShardRow.kind == kind, ShardRow.state == "done")
            .where(counted.c.rows != func.coalesce(written.c.rows, 0))
        )
        for shard, inputs, files in session.execute(query):
            yield f"shard {shard} has {inputs} rows of its inputs and {files} in its files of {output}"


def _files(session: Session) -> Iterator[str]:
    # The old files of a video that is processed again stay visible until it is assembled.
    repeated = (ShardRow.kind == "assembly") & (ShardRow.state == "pending")
    query = (
        select(DataFileRow.path, ShardRow.state)
        .join(ShardRow, ShardRow.id == DataFileRow.shard_id)
        .where(DataFileRow.retired.is_(None), ShardRow.state != "done", ~repeated)
    )
    for path, state in session.execute(query):
        yield f"file {path} belongs to a shard that is {state}"
