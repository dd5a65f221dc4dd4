"""Replacement of rows under other fingerprints when a run succeeds, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import ColumnElement, Update, exists, select, update
from sqlalchemy.orm import Session, aliased

from vestigo.store.sql.tables import DataFileRow, InputRow, RunRow, ShardRow


def replace_stale(session: Session, run: RunRow) -> None:
    """Make the files of `run` visible and retire the rows of its inputs under other fingerprints.

    Inputs that `run` quarantined keep their old rows. A video is replaced as a whole, in any division into slices. A
    file that also holds rows of other inputs is kept, and readers skip the rows of its retired inputs.
    """
    now = datetime.now(UTC)
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
    of_replaced_video = select(part.id).where(part.kind == "slice", _slice_retired(part))
    change(update(InputRow).where(~InputRow.retired, InputRow.shard_id.in_(of_replaced_video)).values(retired=True))
    replaced = select(ShardRow.id).where(_all_retired())
    change(
        update(DataFileRow)
        .where(DataFileRow.shard_id.in_(replaced), DataFileRow.retired.is_(None))
        .values(state="retired", retired=now)
    )
    _quarantine_replaced_shards(change, run)
    new = aliased(DataFileRow)
    repeated = select(new.shard_id).where(new.run_id == run.id, new.state == "staged").distinct()
    old = update(DataFileRow).where(DataFileRow.shard_id.in_(repeated), DataFileRow.state == "visible")
    change(old.values(state="retired", retired=now, run_id=None, shard_id=None))
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
    ) | ((ShardRow.kind == "assembly") & _slice_retired(ShardRow))


def _slice_retired(shard: type[ShardRow]) -> ColumnElement[bool]:
    """Return whether some slice of the video of `shard` is retired."""
    part, item = aliased(ShardRow), aliased(InputRow)
    return exists().where(
        part.run_id == shard.run_id,
        part.after == shard.after,
        part.kind == "slice",
        item.shard_id == part.id,
        item.retired,
    )
