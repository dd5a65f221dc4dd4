"""Replacement of rows under other fingerprints when a run succeeds, in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import Session, aliased

from vestigo.store.sql.tables import DataFileRow, InputRow, RunRow, ShardRow


def replace_stale(session: Session, run: RunRow) -> None:
    """Make the files of `run` visible and retire the rows of its inputs under other fingerprints.

    Inputs that `run` quarantined keep their old rows. A video is replaced as a whole, in any division into slices. A
    file that also holds rows of other inputs is kept, and readers skip the rows of its retired inputs.
    """
    now = datetime.now(UTC)
    own = aliased(InputRow)
    settled = (
        select(own.key)
        .join(ShardRow, ShardRow.id == own.shard_id)
        .where(ShardRow.run_id == run.id, own.state.in_(("done", "empty")))
    )
    session.execute(
        update(InputRow)
        .where(InputRow.fingerprint != run.fingerprint, ~InputRow.retired, InputRow.key.in_(settled))
        .values(retired=True)
        .execution_options(synchronize_session=False)
    )
    part = aliased(ShardRow)
    of_replaced_video = select(part.id).where(part.kind == "slice", _slice_retired(part))
    session.execute(
        update(InputRow)
        .where(~InputRow.retired, InputRow.shard_id.in_(of_replaced_video))
        .values(retired=True)
        .execution_options(synchronize_session=False)
    )
    replaced = select(ShardRow.id).where(_all_retired())
    session.execute(
        update(DataFileRow)
        .where(DataFileRow.shard_id.in_(replaced), DataFileRow.retired.is_(None))
        .values(state="retired", retired=now)
        .execution_options(synchronize_session=False)
    )
    _quarantine_replaced_shards(session, run)
    new = aliased(DataFileRow)
    repeated = select(new.shard_id).where(new.run_id == run.id, new.state == "staged").distinct()
    old = update(DataFileRow).where(DataFileRow.shard_id.in_(repeated), DataFileRow.state == "visible")
    session.execute(
        old.values(state="retired", retired=now, run_id=None, shard_id=None).execution_options(
            synchronize_session=False
        )
    )
    session.execute(
        update(DataFileRow)
        .where(DataFileRow.run_id == run.id, DataFileRow.state == "staged")
        .values(state="visible")
        .execution_options(synchronize_session=False)
    )


def _quarantine_replaced_shards(session: Session, run: RunRow) -> None:
    """Quarantine pending shards whose inputs were replaced, so that a resumed run does not bring them back."""
    replaced = select(ShardRow.id).where(ShardRow.state == "pending", _all_retired())
    session.execute(
        update(InputRow)
        .where(InputRow.shard_id.in_(replaced), InputRow.state == "pending")
        .values(state="quarantined", reason="replaced", detail=f"indexed under another fingerprint by run {run.id}")
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(ShardRow)
        .where(ShardRow.state == "pending", _all_retired())
        .values(state="quarantined")
        .execution_options(synchronize_session=False)
    )


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
