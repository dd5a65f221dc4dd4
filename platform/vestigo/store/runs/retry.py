"""Inputs that a run left out, tried again: they wait once more, and whoever drives the run does them and no others.

A still goes back by itself. A slice does so while its video waits for it; a video that was assembled, or whose
assembly died, is done again as a whole, because its parts are gone. What it showed stays visible until then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.runs.records import PickSpec, Retried, Spec
from vestigo.store.runs.rows import move_inputs, part_of, slices_of, supersede_files
from vestigo.store.sql.database import chunks
from vestigo.store.sql.tables import FrameFailureRow, InputRow, ShardRow
from vestigo_models.errors import StoreError

IsThere = Callable[[Spec], bool]
"""Says whether the video of a slice can still be read: without it, doing a video again would only lose its crops."""
Quarantined = Row[int, int, int, str, str, str | None]
"""Id, shard, position and name of an input, kind and video of its shard."""
WAITING = {"state": "pending", "rows": 0, "reason": None, "detail": None}


def retry_inputs(
    session: Session,
    run_id: str,
    names: Collection[str] | None,
    reason: str | None,
    pick: PickSpec,
    is_there: IsThere,
) -> Retried:
    """Put quarantined inputs of a run back to pending: those called `names`, or all, of one `reason` or of any.

    Memory grows with the inputs that are put back, not with the run.

    Raises:
        StoreError: a live driver holds the run, a name is none that it left out, or nothing can be tried again.
    """
    chosen = list(_chosen(session, run_id, names, reason))
    if missing := set(names or ()).difference(row.name for row in chosen):
        raise StoreError(
            f"run {run_id} did not leave out {min(missing)}: `vestigo runs show {run_id}` names what it did"
        )
    if not chosen:
        raise StoreError(f"run {run_id} left out nothing{f' as {reason}' if reason else ''} that could be tried again")
    count, left = 0, list[str]()
    for shard_id, rows in groupby((row for row in chosen if row.kind != "slice"), key=attrgetter("shard_id")):
        count += _retry_stills(session, session.get_one(ShardRow, shard_id), list(rows), pick)
    slices = sorted((row for row in chosen if row.kind == "slice"), key=attrgetter("after"))
    for _, rows in groupby(slices, key=attrgetter("after")):
        group = list(rows)
        again = _retry_slices(session, session.get_one(ShardRow, group[0].shard_id), group, is_there)
        count += again
        left += [row.name for row in group] if not again else []
    if not count:
        raise StoreError(f"{left[0]} cannot be tried again: put its video back where it was indexed")
    return Retried(count, tuple(left))


def _chosen(session: Session, run_id: str, names: Collection[str] | None, reason: str | None) -> Iterator[Quarantined]:
    query = (
        select(InputRow.id, InputRow.shard_id, InputRow.position, InputRow.name, ShardRow.kind, ShardRow.after)
        .join(ShardRow)
        .where(ShardRow.run_id == run_id, InputRow.state == "quarantined", ~InputRow.retired)
        .order_by(ShardRow.position, ShardRow.id, InputRow.position)
    )
    if reason is not None:
        query = query.where(InputRow.reason == reason)
    if names is None:
        yield from session.execute(query)
        return
    found = [
        row for some in chunks(sorted(set(names))) for row in session.execute(query.where(InputRow.name.in_(some)))
    ]
    yield from sorted(found, key=attrgetter("shard_id", "position"))


def _retry_stills(session: Session, shard: ShardRow, rows: Sequence[Quarantined], pick: PickSpec) -> int:
    """Let stills wait again: in their own shard where it holds nothing else, else in one of their own."""
    spec = pick(shard.spec, [row.position for row in rows])
    held = session.scalar(select(func.count()).where(InputRow.shard_id == shard.id))
    if held == len(rows):
        shard.spec, shard.state, shard.attempts = spec, "pending", 0
    else:
        shard = part_of(shard, spec)
        session.add(shard)
    session.flush()
    fault_point("retry.shard")
    move_inputs(session, shard.id, [row.id for row in rows], WAITING)
    return len(rows)


def _retry_slices(session: Session, one: ShardRow, rows: Sequence[Quarantined], is_there: IsThere) -> int:
    """Let slices of one video wait again, all of them where it was assembled; return how many, 0 without the video."""
    assembly = session.scalars(
        select(ShardRow).where(ShardRow.run_id == one.run_id, ShardRow.after == one.after, ShardRow.kind == "assembly")
    ).one()
    if assembly.state == "pending":
        return _wait(session, [row.shard_id for row in rows])
    if not is_there(one.spec):
        return 0
    parts = slices_of(assembly)
    supersede_files(session, parts)
    assembly.state, assembly.attempts = "pending", 0
    session.flush()
    fault_point("retry.video")
    return _wait(session, parts)


def _wait(session: Session, shards: Sequence[int] | Select[Any]) -> int:
    session.execute(delete(FrameFailureRow).where(FrameFailureRow.shard_id.in_(shards)))
    session.execute(update(ShardRow).where(ShardRow.id.in_(shards)).values(state="pending", attempts=0))
    put_back = session.execute(update(InputRow).where(InputRow.shard_id.in_(shards)).values(WAITING))
    return int(put_back.rowcount)  # type: ignore[attr-defined]
