"""Queries and changes of runs, shards and files that several transactions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from vestigo.store.runs.records import ShardPlan, Spec
from vestigo.store.sql.tables import DataFileRow, InputRow, RunRow, ShardRow
from vestigo_models.errors import StoreError

if TYPE_CHECKING:
    from vestigo.store.parquet.files import WrittenFile

OUTPUT = {"images": "crops", "slice": "candidates", "regions": "regions"}
"""The kind of file whose rows are the rows of a shard's inputs, by kind of shard."""


def run_row(session: Session, run_id: str, *, lock: bool = False) -> RunRow:
    """Return a run's row, with `lock` locked; raise `StoreError` if the store has no such run."""
    row = session.get(RunRow, run_id, with_for_update=lock)
    if row is None:
        raise StoreError(f"run {run_id} is not in the store: `vestigo runs list` names its runs")
    return row


def pending_shard(session: Session, shard_id: int) -> ShardRow:
    """Return a pending shard, locked; raise `StoreError` if it does not exist or is not pending."""
    shard = session.get(ShardRow, shard_id, with_for_update=True)
    if shard is None:
        raise StoreError(f"shard {shard_id} is not in the store")
    if shard.state != "pending":
        raise StoreError(
            f"shard {shard_id} of run {shard.run_id} is {shard.state}, not pending: its work is not needed"
        )
    return shard


def slices_of(assembly: ShardRow) -> Select[Any]:
    """Select the ids of the slices that an assembly joins."""
    return select(ShardRow.id).where(
        ShardRow.run_id == assembly.run_id, ShardRow.after == assembly.after, ShardRow.kind == "slice"
    )


def add_pending_shard(
    session: Session, run_id: str, position: int, shard: ShardPlan | ShardRow, spec: Spec
) -> ShardRow:
    """Add a pending shard as planned, or with some inputs of another shard."""
    same = {"kind": shard.kind, "source": shard.source, "after": shard.after}
    row = ShardRow(run_id=run_id, position=position, spec=spec, state="pending", attempts=0, **same)
    session.add(row)
    session.flush()
    return row


def move_inputs(
    session: Session, shard_id: int, inputs: Sequence[int], values: Mapping[str, Any] | None = None
) -> None:
    """Assign inputs, given by id, to a shard in this order, and set `values` on each."""
    moved = [
        {"id": id_, "shard_id": shard_id, "position": position, **(values or {})} for position, id_ in enumerate(inputs)
    ]
    session.execute(update(InputRow), moved)


def supersede_files(session: Session, shards: Select[Any] | Sequence[int]) -> None:
    """Retire the files of shards that are processed again, and detach them from their run and shard."""
    retire_files(session, shards)
    session.execute(update(DataFileRow).where(DataFileRow.shard_id.in_(shards)).values(run_id=None, shard_id=None))


def retire_files(session: Session, shards: Select[Any] | Sequence[int], kind: str | None = None) -> None:
    """Retire the files of some shards, of one kind or of all: readers skip them, and vacuum removes them."""
    files = update(DataFileRow).where(DataFileRow.shard_id.in_(shards), DataFileRow.retired.is_(None))
    if kind is not None:
        files = files.where(DataFileRow.kind == kind)
    session.execute(files.values(state="retired", retired=datetime.now(UTC)))


def file_row(file: WrittenFile, state: str, *, run_id: str | None = None, shard_id: int | None = None) -> DataFileRow:
    """Return the row that registers a written file; `run_id` and `shard_id` are None for files of no run."""
    facts = vars(file) | {"cameras": list(file.cameras)}
    return DataFileRow(run_id=run_id, shard_id=shard_id, state=state, **facts)
