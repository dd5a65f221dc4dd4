"""What is to be done: shards and inputs enter the catalogue, each input once per fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import exists, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.runs.queries import run_row
from vestigo.store.runs.records import PlanResult, ShardPlan
from vestigo.store.sql.database import Database, chunks
from vestigo.store.sql.tables import InputRow, RunRow, ShardRow
from vestigo_models.errors import StoreError


def unseen(session: Session, fingerprint: str, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` under which no input is planned yet with this fingerprint."""
    fresh = set(keys)
    for some in chunks(keys):
        known = select(InputRow.key).where(
            InputRow.key.in_(some), InputRow.fingerprint == fingerprint, ~InputRow.retired
        )
        fresh.difference_update(session.scalars(known))
    return fresh


def stale(session: Session, fingerprint: str, keys: Sequence[str]) -> set[str]:
    """Return the other fingerprints under which the store holds any of `keys`."""
    others: set[str] = set()
    for some in chunks(keys):
        held = select(InputRow.fingerprint).where(
            InputRow.key.in_(some), InputRow.fingerprint != fingerprint, ~InputRow.retired
        )
        others.update(session.scalars(held.distinct()))
    return others


def plan(database: Database, run_id: str, shards: Iterable[ShardPlan]) -> PlanResult:
    """Add shards to a run, and mark the run as planned at the end.

    A shard without a group enters the catalogue in a transaction of its own, the shards of a video (the same `after`,
    one after the other) in one together, so that a video is planned whole or not at all; memory is one shard or
    video. Each is there before the next is asked for: `unseen` knows the inputs before it, and a plan that was
    interrupted is continued by planning what is unseen.

    Raises StoreError for an input that is planned already.
    """
    with database.read() as session:
        last = session.scalar(select(func.max(ShardRow.position)).where(ShardRow.run_id == run_id))
    position = 0 if last is None else last + 1
    planned_shards = planned_inputs = 0
    for group in _groups(shards):
        fault_point("plan.before-group")
        try:
            with database.write() as session:
                run = run_row(session, run_id, lock=True)
                added = [shard for offset, shard in enumerate(group) if _add(session, run, shard, position + offset)]
        except IntegrityError as error:
            raise StoreError(
                f"an input of {group[0].source} is planned already, twice by this command or by another one "
                "meanwhile: run the command again"
            ) from error
        position += len(group)
        planned_shards += len(added)
        planned_inputs += sum(len(shard.inputs) for shard in added)
    fault_point("plan.before-planned")
    with database.write() as session:
        run_row(session, run_id, lock=True).planned = True
    return PlanResult(planned_shards, planned_inputs)


def _groups(shards: Iterable[ShardPlan]) -> Iterator[list[ShardPlan]]:
    group: list[ShardPlan] = []
    for shard in shards:
        if group and (shard.after is None or shard.after != group[0].after):
            yield group
            group = []
        group.append(shard)
        if shard.after is None:
            yield group
            group = []
    if group:
        yield group


def _add(session: Session, run: RunRow, shard: ShardPlan, position: int) -> bool:
    if shard.kind == "assembly":
        same = exists().where(ShardRow.run_id == run.id, ShardRow.kind == "assembly", ShardRow.after == shard.after)
        if session.scalar(select(same)):
            return False
    row = ShardRow(
        run_id=run.id,
        position=position,
        kind=shard.kind,
        source=shard.source,
        after=shard.after,
        spec=shard.spec,
        state="pending",
        attempts=0,
    )
    session.add(row)
    session.flush()
    fault_point("plan.inside-group")
    if shard.inputs:
        session.execute(
            insert(InputRow),
            [
                {
                    "shard_id": row.id,
                    "position": place,
                    "name": item.name,
                    "key": item.key,
                    "fingerprint": run.fingerprint,
                    "state": "pending",
                    "rows": 0,
                    "retired": False,
                }
                for place, item in enumerate(shard.inputs)
            ],
        )
    run.planned_inputs += len(shard.inputs)
    return True
