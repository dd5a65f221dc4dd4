"""Shards that kill their workers: tried again, cut in two, at last quarantined, so that one input cannot stop a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.parquet.schemas import KINDS
from vestigo.store.runs.records import PickSpec
from vestigo.store.runs.shards import move_inputs, part_of, pending_shard, retire_files, slices_of
from vestigo.store.sql.tables import InputRow, ShardRow

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
