"""Retry of quarantined inputs: they are set back to pending, and the next driver of the run processes them alone.

A still is retried by itself. A slice is retried by itself while its video waits for it. A video that was assembled, or
whose assembly was quarantined, is processed again as a whole, because its parts are deleted; its old crops stay visible
until then.
"""

from collections.abc import Collection, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.runs.records import HasVideo, RetryResult, SelectInputs
from vestigo.store.runs.rows import PLAN_ORDER, add_pending_shard, inputs_of, move_inputs, slices_of, supersede_files
from vestigo.store.sql.tables import FrameFailureRow, InputRow, ShardRow
from vestigo_models.errors import StoreError

QuarantinedInput = Row[int, int, int, str, str, str | None]
"""Id, shard, position and name of an input, kind and group key of its shard."""
PENDING = {"state": "pending", "rows": 0, "reason": None, "detail": None}


def retry_inputs(
    session: Session,
    run_id: str,
    names: Collection[str] | None,
    reason: str | None,
    select_inputs: SelectInputs,
    has_video: HasVideo,
) -> RetryResult:
    """Set quarantined inputs of a run back to pending; see `RunRepository.retry`. Memory is that of these inputs."""
    inputs = _quarantined(session, run_id, names, reason)
    if missing := set(names or ()).difference(row.name for row in inputs):
        raise StoreError(f"run {run_id} has no quarantined input {min(missing)}: see `vestigo runs show {run_id}`")
    if not inputs:
        raise StoreError(f"run {run_id} has no quarantined input{f' with reason {reason}' if reason else ''} to retry")
    count, without_video = 0, list[str]()
    for shard_id, rows in groupby((row for row in inputs if row.kind != "slice"), key=attrgetter("shard_id")):
        count += _retry_stills(session, session.get_one(ShardRow, shard_id), list(rows), select_inputs)
    slices = sorted((row for row in inputs if row.kind == "slice"), key=attrgetter("after"))
    for _, rows in groupby(slices, key=attrgetter("after")):
        group = list(rows)
        retried = _retry_slices(session, session.get_one(ShardRow, group[0].shard_id), group, has_video)
        count += retried
        without_video += [row.name for row in group] if not retried else []
    if not count:
        raise StoreError(f"{without_video[0]} cannot be retried: put its video back where it was indexed")
    return RetryResult(count, tuple(without_video))


def _quarantined(
    session: Session, run_id: str, names: Collection[str] | None, reason: str | None
) -> list[QuarantinedInput]:
    input_, shard = InputRow, ShardRow
    columns = input_.id, input_.shard_id, input_.position, input_.name, shard.kind, shard.after
    query = inputs_of(run_id, "quarantined", *columns).where(~input_.retired).order_by(*PLAN_ORDER)
    if reason is not None:
        query = query.where(input_.reason == reason)
    chosen = None if names is None else set(names)
    return [row for row in session.execute(query) if chosen is None or row.name in chosen]


def _retry_stills(
    session: Session, shard: ShardRow, rows: Sequence[QuarantinedInput], select_inputs: SelectInputs
) -> int:
    """Set stills back to pending, in their own shard if it holds nothing else, otherwise in a new one."""
    spec = select_inputs(shard.spec, [row.position for row in rows])
    inputs = session.scalar(select(func.count()).where(InputRow.shard_id == shard.id))
    if inputs == len(rows):
        shard.spec, shard.state, shard.attempts = spec, "pending", 0
    else:
        shard = add_pending_shard(session, shard.run_id, shard.position, shard, spec)
    session.flush()
    fault_point("retry.shard")
    move_inputs(session, shard.id, [row.id for row in rows], PENDING)
    return len(rows)


def _retry_slices(session: Session, shard: ShardRow, rows: Sequence[QuarantinedInput], has_video: HasVideo) -> int:
    """Set slices of one video back to pending, or all of its slices if it was assembled.

    Returns:
        The number of slices; 0 if all are needed and the video is missing.
    """
    assembly = session.scalars(
        select(ShardRow).where(
            ShardRow.run_id == shard.run_id, ShardRow.after == shard.after, ShardRow.kind == "assembly"
        )
    ).one()
    if assembly.state == "pending":
        return _set_pending(session, [row.shard_id for row in rows])
    if not has_video(shard.spec):
        return 0
    slices = slices_of(assembly)
    supersede_files(session, slices)
    assembly.state, assembly.attempts = "pending", 0
    session.flush()
    fault_point("retry.video")
    return _set_pending(session, slices)


def _set_pending(session: Session, shards: Sequence[int] | Select[Any]) -> int:
    session.execute(delete(FrameFailureRow).where(FrameFailureRow.shard_id.in_(shards)))
    session.execute(update(ShardRow).where(ShardRow.id.in_(shards)).values(state="pending", attempts=0))
    inputs = session.execute(update(InputRow).where(InputRow.shard_id.in_(shards)).values(PENDING))
    return int(inputs.rowcount)  # type: ignore[attr-defined]
