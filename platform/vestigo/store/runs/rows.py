"""Queries and changes of runs, shards, inputs and files within a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, Update, exists, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from vestigo.store.runs.records import InputState, ShardPlan, Spec
from vestigo.store.sql.tables import DataFileRow, InputRow, RunRow, ShardRow
from vestigo_models.errors import StoreError

if TYPE_CHECKING:
    from vestigo.store.parquet.files import FileKind, WrittenFile

OUTPUT = {"images": "crops", "slice": "candidates", "regions": "regions"}
"""The kind of file whose rows are the rows of a shard's inputs, by kind of shard."""
PLAN_ORDER = (ShardRow.position, ShardRow.id, InputRow.position)


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


def inputs_of(
    run_id: str, state: InputState, *columns: ColumnElement[Any] | InstrumentedAttribute[Any]
) -> Select[*tuple[Any, ...]]:
    """Select columns of the inputs of a run in one state."""
    return select(*columns).join(ShardRow).where(ShardRow.run_id == run_id, InputRow.state == state)


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
    retired = files.values(state="retired", retired=datetime.now(UTC))
    session.execute(retired, execution_options={"synchronize_session": False})


def add_files(
    session: Session,
    files: Iterable[WrittenFile],
    state: str = "visible",
    *,
    run_id: str | None = None,
    shard_id: int | None = None,
) -> list[int]:
    """Register written files and return their ids; `run_id` and `shard_id` are None for files of no run."""
    rows = [DataFileRow(run_id=run_id, shard_id=shard_id, state=state, **vars(file)) for file in files]
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]


def visible_files(kind: FileKind, *columns: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[Any]:
    """Select columns of the visible files of a kind and of their runs."""
    files = select(*columns).select_from(DataFileRow).join(RunRow, RunRow.id == DataFileRow.run_id)
    return files.where(DataFileRow.kind == kind, DataFileRow.state == "visible")


def replace_stale(session: Session, run: RunRow) -> None:
    """Make the files of `run` visible and retire the rows of its inputs under other fingerprints, when it succeeds.

    Inputs that `run` quarantined keep their old rows. A video is replaced as a whole, in any division into slices. A
    file that also holds rows of other inputs is kept, and readers skip the rows of its retired inputs.
    """
    change = partial(session.execute, execution_options={"synchronize_session": False})
    own = aliased(InputRow)
    settled = (
        select(own.key)
        .join(ShardRow, ShardRow.id == own.shard_id)
        .where(ShardRow.run_id == run.id, own.state.in_(("done", "empty")))
    )
    change(
        update(InputRow)
        .where(InputRow.fingerprint != run.fingerprint, ~InputRow.retired, InputRow.key.in_(settled))
        .values(retired=True)
    )
    part = aliased(ShardRow)
    of_replaced_video = select(part.id).where(part.kind == "slice", has_retired_slice(part))
    change(update(InputRow).where(~InputRow.retired, InputRow.shard_id.in_(of_replaced_video)).values(retired=True))
    retire_files(session, select(ShardRow.id).where(_all_retired()))
    _quarantine_replaced_shards(change, run)
    new = aliased(DataFileRow)
    repeated = select(new.shard_id).where(new.run_id == run.id, new.state == "staged").distinct()
    old = update(DataFileRow).where(DataFileRow.shard_id.in_(repeated), DataFileRow.state == "visible")
    change(old.values(state="retired", retired=datetime.now(UTC), run_id=None, shard_id=None))
    change(
        update(DataFileRow).where(DataFileRow.run_id == run.id, DataFileRow.state == "staged").values(state="visible")
    )


def _quarantine_replaced_shards(change: Callable[[Update], object], run: RunRow) -> None:
    """Quarantine pending shards whose inputs were replaced, so that a resumed run does not bring them back."""
    replaced = select(ShardRow.id).where(ShardRow.state == "pending", _all_retired())
    change(
        update(InputRow)
        .where(InputRow.shard_id.in_(replaced), InputRow.state == "pending")
        .values(state="quarantined", reason="replaced", detail=f"indexed under another fingerprint by run {run.id}")
    )
    change(update(ShardRow).where(ShardRow.state == "pending", _all_retired()).values(state="quarantined"))


def _all_retired() -> ColumnElement[bool]:
    """Return whether every input of a shard, or some slice of an assembly, is retired."""
    item, live = aliased(InputRow), aliased(InputRow)
    return (
        exists().where(item.shard_id == ShardRow.id, item.retired)
        & ~exists().where(live.shard_id == ShardRow.id, ~live.retired)
    ) | ((ShardRow.kind == "assembly") & has_retired_slice(ShardRow))


def has_retired_slice(shard: type[ShardRow]) -> ColumnElement[bool]:
    """Return whether some slice of the video of `shard` is retired."""
    part, item = aliased(ShardRow), aliased(InputRow)
    return exists().where(
        part.run_id == shard.run_id,
        part.after == shard.after,
        part.kind == "slice",
        item.shard_id == part.id,
        item.retired,
    )
