"""Shards in work: handed out in the order of the plan, committed whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Select, exists, insert, select, update
from sqlalchemy.orm import Session, aliased

from vestigo.store.faults import fault_point
from vestigo.store.parquet.schemas import KINDS
from vestigo.store.runs.queries import run_row
from vestigo.store.runs.records import FrameFailure, InputOutcome, PickSpec, ShardTask, Spec, WrittenFile
from vestigo.store.sql.database import upsert
from vestigo.store.sql.tables import CameraRow, DataFileRow, FrameFailureRow, InputRow, ShardRow
from vestigo_models.errors import StoreError

OUTPUT = {"images": "crops", "slice": "candidates", "regions": "regions"}
"""The kind of file whose rows are the rows of a shard's inputs."""


def pending(session: Session, run_id: str, limit: int, busy: Collection[int]) -> list[ShardTask]:
    """Return the next shards that can be worked off, in the order of the plan, without those in `busy`."""
    run_row(session, run_id)
    part = aliased(ShardRow)
    parts_pending = exists().where(
        part.run_id == ShardRow.run_id,
        part.after == ShardRow.after,
        part.kind == "slice",
        part.state == "pending",
    )
    query = (
        select(ShardRow)
        .where(
            ShardRow.run_id == run_id,
            ShardRow.state == "pending",
            ShardRow.id.not_in(busy),
            (ShardRow.kind != "assembly") | ~parts_pending,
        )
        .order_by(ShardRow.position, ShardRow.id)
        .limit(limit)
    )
    rows = session.scalars(query).all()
    names: dict[int, list[str]] = {row.id: [] for row in rows}
    inputs = select(InputRow.shard_id, InputRow.name).where(InputRow.shard_id.in_(names))
    for shard_id, name in session.execute(inputs.order_by(InputRow.shard_id, InputRow.position)):
        names[shard_id].append(name)
    return [
        ShardTask(
            id=row.id,
            run_id=row.run_id,
            kind=row.kind,  # type: ignore[arg-type]
            source=row.source,
            after=row.after,
            spec=row.spec,
            attempts=row.attempts,
            inputs=tuple(names[row.id]),
        )
        for row in rows
    ]


def commit(
    session: Session,
    shard_id: int,
    files: Sequence[WrittenFile],
    outcomes: Sequence[InputOutcome],
    failures: Sequence[FrameFailure],
) -> None:
    """Record a shard's files and outcomes and mark it done; an assembly retires what it was assembled from.

    Raises StoreError for a shard that is not pending, and where outcomes, inputs and rows do not agree.
    """
    shard = pending_shard(session, shard_id)
    _check_outcomes(session, shard, files, outcomes)
    shard.state = "done"
    session.flush()
    fault_point("commit.shard")
    state = "staged" if run_row(session, shard.run_id).replaces else "visible"
    if shard.kind == "assembly" and state == "visible":
        # Of a video that is done again readers see the old files until the moment of the new.
        supersede(session, [shard_id])
    for file in files:
        session.add(file_row(file, state, run_id=shard.run_id, shard_id=shard.id))
    add_cameras(session, {camera for file in files for camera in file.cameras})
    session.flush()
    fault_point("commit.files")
    if outcomes:
        _settle(session, shard_id, outcomes)
    if failures:
        facts = [vars(failure) | {"run_id": shard.run_id, "shard_id": shard_id} for failure in failures]
        session.execute(insert(FrameFailureRow), facts)
    if shard.kind == "assembly":
        retire_files(session, slices_of(shard), ["candidates"])
    fault_point("commit.inputs")


def pending_shard(session: Session, shard_id: int) -> ShardRow:
    """Return a shard that waits for its outcome, locked. Raises StoreError for any other."""
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


def part_of(shard: ShardRow, spec: Spec) -> ShardRow:
    """Return a new shard for some inputs of another, in its place in the plan, never tried."""
    return ShardRow(
        run_id=shard.run_id,
        position=shard.position,
        kind=shard.kind,
        source=shard.source,
        after=shard.after,
        spec=spec,
        state="pending",
        attempts=0,
    )


def move_inputs(session: Session, shard_id: int, inputs: Sequence[int], more: Mapping[str, Any] | None = None) -> None:
    """Make inputs (ids) those of a shard, in this order, with `more` about each."""
    moved = [{"id": id_, "shard_id": shard_id, "position": place, **(more or {})} for place, id_ in enumerate(inputs)]
    session.execute(update(InputRow), moved)


def supersede(session: Session, shards: Select[Any] | Sequence[int]) -> None:
    """Retire the files of shards that are done again; they no longer count as something that their run made."""
    retire_files(session, shards, KINDS)
    session.execute(update(DataFileRow).where(DataFileRow.shard_id.in_(shards)).values(run_id=None, shard_id=None))


def retire_files(session: Session, shards: Select[Any] | Sequence[int], kinds: Sequence[str]) -> None:
    """Retire the files of some shards: readers no longer see them, and vacuum removes them."""
    session.execute(
        update(DataFileRow)
        .where(DataFileRow.shard_id.in_(shards), DataFileRow.kind.in_(kinds), DataFileRow.retired.is_(None))
        .values(state="retired", retired=datetime.now(UTC))
    )


def add_cameras(session: Session, names: Collection[str]) -> None:
    """Make cameras known, with clocks that are right."""
    # In one order everywhere, so that two writers cannot wait for each other.
    for name in sorted(names):
        session.execute(upsert(session, CameraRow).values(name=name, clock_offset_s=0.0).on_conflict_do_nothing())


def _check_outcomes(
    session: Session, shard: ShardRow, files: Sequence[WrittenFile], outcomes: Sequence[InputOutcome]
) -> None:
    inputs = session.scalars(select(InputRow.position).where(InputRow.shard_id == shard.id)).all()
    if sorted(inputs) != sorted(outcome.position for outcome in outcomes):
        raise StoreError(
            f"shard {shard.id} has {len(inputs)} inputs and {len(outcomes)} outcomes that do not match them"
        )
    for outcome in outcomes:
        if (outcome.state == "done") != (outcome.rows > 0):
            raise StoreError(
                f"input {outcome.position} of shard {shard.id} is {outcome.state} with {outcome.rows} rows"
            )
        if (outcome.state == "quarantined") != (outcome.reason is not None):
            raise StoreError(
                f"input {outcome.position} of shard {shard.id} is {outcome.state}, reason {outcome.reason}"
            )
    if shard.kind in OUTPUT:
        written = sum(file.rows for file in files if file.kind == OUTPUT[shard.kind])
        counted = sum(outcome.rows for outcome in outcomes)
        if written != counted:
            raise StoreError(
                f"shard {shard.id} wrote {written} rows of {OUTPUT[shard.kind]} for {counted} of its inputs"
            )


def _settle(session: Session, shard_id: int, outcomes: Sequence[InputOutcome]) -> None:
    inputs = session.execute(select(InputRow.position, InputRow.id).where(InputRow.shard_id == shard_id))
    ids = dict(inputs.all())
    settled = [
        {
            "id": ids[outcome.position],
            "state": outcome.state,
            "rows": outcome.rows,
            "reason": outcome.reason,
            "detail": outcome.detail,
        }
        for outcome in outcomes
    ]
    if settled:
        session.execute(update(InputRow), settled)


def file_row(file: WrittenFile, state: str, *, run_id: str | None = None, shard_id: int | None = None) -> DataFileRow:
    """The row with which a written file begins to count; what belongs to no run has none."""
    facts = vars(file) | {"cameras": list(file.cameras)}
    return DataFileRow(run_id=run_id, shard_id=shard_id, state=state, **facts)


MAX_DEATHS = 2

Fate = Literal["retry", "split", "quarantined"]


def record_death(session: Session, shard_id: int, reason: str, pick: PickSpec) -> Fate:
    """Count a death against a shard and say what follows.

    After two deaths a shard of several inputs gives way to its two halves, which are tried from the start; one of a
    single input is quarantined. An assembly that is quarantined takes its slices with it: their crops never came
    to be.

    Raises StoreError for a shard that is not pending.
    """
    shard = pending_shard(session, shard_id)
    shard.attempts += 1
    if shard.attempts < MAX_DEATHS:
        return "retry"
    inputs = session.scalars(select(InputRow.id).where(InputRow.shard_id == shard_id).order_by(InputRow.position)).all()
    if len(inputs) > 1:
        _split(session, shard, inputs, pick)
        return "split"
    _quarantine(session, shard, reason)
    return "quarantined"


def _split(session: Session, shard: ShardRow, inputs: Sequence[int], pick: PickSpec) -> None:
    half = len(inputs) // 2
    shard.state = "split"
    for places in (range(half), range(half, len(inputs))):
        row = part_of(shard, pick(shard.spec, places))
        session.add(row)
        session.flush()
        move_inputs(session, row.id, [inputs[place] for place in places])
        fault_point("death.half")


def _quarantine(session: Session, shard: ShardRow, reason: str) -> None:
    shard.state = "quarantined"
    parts = slices_of(shard) if shard.kind == "assembly" else select(ShardRow.id).where(ShardRow.id == shard.id)
    retire_files(session, parts, KINDS)
    # A video that was done again has shown what an earlier assembly made, until now.
    retire_files(session, [shard.id], KINDS)
    session.execute(update(ShardRow).where(ShardRow.id.in_(parts)).values(state="quarantined"))
    session.execute(
        update(InputRow)
        .where(InputRow.shard_id.in_(parts), InputRow.state != "quarantined")
        .values(state="quarantined", rows=0, reason="worker-died", detail=reason)
    )
