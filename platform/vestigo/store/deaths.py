"""Shards that kill their workers: tried again, cut in two, at last quarantined, so that one input cannot stop a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.records import Spec
from vestigo.store.schema import KINDS
from vestigo.store.tables import InputRow, ShardRow
from vestigo.store.work import pending_shard, retire_files, slices_of

MAX_DEATHS = 2

Fate = Literal["retry", "split", "quarantined"]
SplitSpec = Callable[[Spec, int], tuple[Spec, Spec]]
"""Cuts the spec of a shard in two: for its first `count` inputs, and for the rest."""


def record_death(session: Session, shard_id: int, reason: str, split: SplitSpec) -> Fate:
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
        _split(session, shard, inputs, split)
        return "split"
    _quarantine(session, shard, reason)
    return "quarantined"


def _split(session: Session, shard: ShardRow, inputs: Sequence[int], split: SplitSpec) -> None:
    half = len(inputs) // 2
    shard.state = "split"
    for spec, moved in zip(split(shard.spec, half), (inputs[:half], inputs[half:]), strict=True):
        row = ShardRow(
            run_id=shard.run_id,
            position=shard.position,
            kind=shard.kind,
            source=shard.source,
            after=shard.after,
            spec=spec,
            state="pending",
            attempts=0,
        )
        session.add(row)
        session.flush()
        session.execute(
            update(InputRow), [{"id": id_, "shard_id": row.id, "position": place} for place, id_ in enumerate(moved)]
        )
        fault_point("death.half")


def _quarantine(session: Session, shard: ShardRow, reason: str) -> None:
    shard.state = "quarantined"
    lost = slices_of(shard) if shard.kind == "assembly" else select(ShardRow.id).where(ShardRow.id == shard.id)
    retire_files(session, lost, KINDS)
    session.execute(update(ShardRow).where(ShardRow.id.in_(lost)).values(state="quarantined"))
    session.execute(
        update(InputRow)
        .where(InputRow.shard_id.in_(lost), InputRow.state != "quarantined")
        .values(state="quarantined", rows=0, reason="worker-died", detail=reason)
    )
