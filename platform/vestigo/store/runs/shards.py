"""Shards in the store: planned once, handed out in the order of the plan, committed whole."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal

from sqlalchemy import Select, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from vestigo.store.faults import fault_point
from vestigo.store.parquet.files import DataRoot, FileKind, WrittenFile
from vestigo.store.runs.leases import require_owner
from vestigo.store.runs.records import InputFailure, InputOutcome, Owner, SelectInputs, ShardPlan, ShardTask
from vestigo.store.runs.rows import (
    OUTPUT,
    add_files,
    add_pending_shard,
    move_inputs,
    pending_shard,
    retire_files,
    run_row,
    slices_of,
    supersede_files,
)
from vestigo.store.sql.database import Database, chunks, to_record, upsert
from vestigo.store.sql.tables import CameraRow, DataFileRow, FrameFailureRow, InputRow, RunRow, ShardRow
from vestigo_models.errors import StoreError

MAX_DEATHS = 2
FailureAction = Literal["retry", "split", "quarantined"]


@dataclass(frozen=True)
class ShardRepository:
    """The shards of all runs, their inputs and their files."""

    database: Database
    root: DataRoot

    def unplanned(self, fingerprint: str, keys: Sequence[str]) -> set[str]:
        """Return the input keys that are not planned yet under `fingerprint`."""
        known = select(InputRow.key).where(InputRow.fingerprint == fingerprint, ~InputRow.retired)
        return set(keys).difference(*self._scalars_of_keys(known, keys))

    def other_fingerprints(self, fingerprint: str, keys: Sequence[str]) -> set[str]:
        """Return the fingerprints other than `fingerprint` under which the store holds any of the input keys."""
        others = select(InputRow.fingerprint).where(InputRow.fingerprint != fingerprint, ~InputRow.retired).distinct()
        return set[str]().union(*self._scalars_of_keys(others, keys))

    def plan(self, run_id: str, shards: Iterable[ShardPlan]) -> int:
        """Add shards to a run, mark the run as planned at the end, and return the number of shards added.

        A shard of images is added in a transaction of its own. The shards of a video (consecutive, with the same
        `after`) share one transaction, so that a video is planned whole or not at all. Each transaction ends before
        the next shard is taken from `shards`: an interrupted plan continues with the keys that `unplanned` returns.
        Memory is one shard or video.

        Raises:
            StoreError: If an input is planned already.
        """
        last = self.database.scalars(select(func.max(ShardRow.position)).where(ShardRow.run_id == run_id))[0]
        position, count = (0 if last is None else last + 1), 0
        for group in _groups(shards):
            fault_point("plan.before-group")

            def add(session: Session, group: Sequence[ShardPlan] = group, position: int = position) -> int:
                run = run_row(session, run_id, lock=True)
                return sum(_add_shard(session, run, shard, at) for at, shard in enumerate(group, position))

            try:
                count += self.database.change(add)
            except IntegrityError as error:
                raise StoreError(
                    f"an input of {group[0].source} is planned already, twice by this command or by another one "
                    "meanwhile: run the command again"
                ) from error
            position += len(group)
        fault_point("plan.before-planned")

        def end(session: Session) -> None:
            run_row(session, run_id, lock=True).planned = True

        self.database.change(end)
        return count

    def pending(self, run_id: str, limit: int, busy: Collection[int] = ()) -> list[ShardTask]:
        """Return the next `limit` pending shards in the order of the plan, without those in `busy`.

        An assembly waits while a slice of its video is pending.
        """
        part = aliased(ShardRow)
        slice_pending = exists().where(
            part.run_id == ShardRow.run_id, part.after == ShardRow.after, part.kind == "slice", part.state == "pending"
        )
        query = select(ShardRow).where(ShardRow.run_id == run_id, ShardRow.state == "pending", ShardRow.id.not_in(busy))
        query = query.where((ShardRow.kind != "assembly") | ~slice_pending).order_by(ShardRow.position, ShardRow.id)

        def read(session: Session) -> list[ShardTask]:
            run_row(session, run_id)
            rows = session.scalars(query.limit(limit)).all()
            names: dict[int, list[str]] = {row.id: [] for row in rows}
            inputs = select(InputRow.shard_id, InputRow.name).where(InputRow.shard_id.in_(names))
            for shard_id, name in session.execute(inputs.order_by(InputRow.shard_id, InputRow.position)):
                names[shard_id].append(name)
            return [to_record(ShardTask, row, inputs=tuple(names[row.id])) for row in rows]

        return self.database.fetch(read)

    def commit(
        self,
        shard_id: int,
        *,
        files: Sequence[WrittenFile],
        outcomes: Sequence[InputOutcome],
        failures: Sequence[InputFailure] = (),
        owner: Owner | None = None,
    ) -> None:
        """Record the files and outcomes of a shard and mark it done, in one transaction.

        From here on the files are visible, or staged if the run replaces others. An assembly retires the files
        of its slices. There is an outcome of every input; `failures` are those of single frames.

        Raises:
            LeaseLost: If `owner` does not drive the run, or without one another process does.
            StoreError: If the shard is not pending, a file is missing, or outcomes, inputs and rows do not agree.
        """
        for file in files:
            self.root.require_written(file)
        fault_point("commit.before")

        def commit(session: Session) -> None:
            shard = _owned_shard(session, shard_id, owner)
            _check_outcomes(session, shard, files, outcomes)
            _record(session, shard, files, outcomes, failures)

        self.database.change(commit)
        fault_point("commit.after")

    def record_death(
        self, shard_id: int, reason: str, select_inputs: SelectInputs, owner: Owner | None = None
    ) -> FailureAction:
        """Count the death of a worker against its shard and return what follows.

        After two deaths a shard of several inputs is replaced by its two halves, which start with no deaths, and a
        shard of one input is quarantined for `reason`. Quarantining an assembly also quarantines its slices.

        Raises:
            LeaseLost: If `owner` does not drive the run, or without one another process does.
            StoreError: If the shard is not pending.
        """

        def record(session: Session) -> FailureAction:
            shard = _owned_shard(session, shard_id, owner)
            shard.attempts += 1
            if shard.attempts < MAX_DEATHS:
                return "retry"
            ids = select(InputRow.id).where(InputRow.shard_id == shard_id).order_by(InputRow.position)
            inputs = session.scalars(ids).all()
            if len(inputs) > 1:
                _split(session, shard, inputs, select_inputs)
                return "split"
            _quarantine(session, shard, reason)
            return "quarantined"

        return self.database.change(record)

    def file_paths(self, run_id: str, *, kind: FileKind, after: str | None = None) -> list[str]:
        """Return the paths of a run's files that are not retired, all or those of the video `after`, by shard."""
        query = (
            select(DataFileRow.path)
            .join(ShardRow, ShardRow.id == DataFileRow.shard_id)
            .where(DataFileRow.run_id == run_id, DataFileRow.kind == kind, DataFileRow.retired.is_(None))
            .order_by(ShardRow.position, ShardRow.id, DataFileRow.id)
        )
        if after is not None:
            query = query.where(ShardRow.after == after)
        return list(self.database.scalars(query))

    def _scalars_of_keys(self, query: Select[str], keys: Sequence[str]) -> Iterator[Sequence[str]]:
        return (self.database.scalars(query.where(InputRow.key.in_(chunk))) for chunk in chunks(keys))


def _groups(shards: Iterable[ShardPlan]) -> Iterator[list[ShardPlan]]:
    """Yield the consecutive shards of each video, and every other shard by itself."""
    for after, group in groupby(shards, key=attrgetter("after")):
        if after is None:
            yield from ([shard] for shard in group)
        else:
            yield list(group)


def _add_shard(session: Session, run: RunRow, shard: ShardPlan, position: int) -> bool:
    if shard.kind == "assembly":
        same = exists().where(ShardRow.run_id == run.id, ShardRow.kind == "assembly", ShardRow.after == shard.after)
        if session.scalar(select(same)):
            return False
    row = add_pending_shard(session, run.id, position, shard, shard.spec)
    fault_point("plan.inside-group")
    common = {"shard_id": row.id, "fingerprint": run.fingerprint, "state": "pending", "rows": 0, "retired": False}
    inputs = [{**common, "position": place, **vars(planned)} for place, planned in enumerate(shard.inputs)]
    if inputs:
        session.execute(insert(InputRow), inputs)
    run.planned_inputs += len(inputs)
    return True


def _owned_shard(session: Session, shard_id: int, owner: Owner | None) -> ShardRow:
    """Return a pending shard, locked after its run, which `owner` must drive, or without one no other process."""
    run_id = session.scalar(select(ShardRow.run_id).where(ShardRow.id == shard_id))
    if run_id is not None:
        run = run_row(session, run_id, lock=True)
        if owner is not None or run.host is not None:
            require_owner(run, owner or Owner.current())
    return pending_shard(session, shard_id)


def _check_outcomes(
    session: Session, shard: ShardRow, files: Sequence[WrittenFile], outcomes: Sequence[InputOutcome]
) -> None:
    inputs = session.scalars(select(InputRow.position).where(InputRow.shard_id == shard.id)).all()
    if sorted(inputs) != sorted(outcome.position for outcome in outcomes):
        raise StoreError(
            f"shard {shard.id} has {len(inputs)} inputs and {len(outcomes)} outcomes that do not match them"
        )
    for outcome in outcomes:
        described = f"input {outcome.position} of shard {shard.id} is {outcome.state}"
        if (outcome.state == "done") != (outcome.rows > 0):
            raise StoreError(f"{described} with {outcome.rows} rows")
        if (outcome.state in ("quarantined", "passed_over")) != (outcome.reason is not None):
            raise StoreError(f"{described}, reason {outcome.reason}")
    if shard.kind in OUTPUT:
        written = sum(file.rows for file in files if file.kind == OUTPUT[shard.kind])
        counted = sum(outcome.rows for outcome in outcomes)
        if written != counted:
            raise StoreError(
                f"shard {shard.id} wrote {written} rows of {OUTPUT[shard.kind]} for {counted} of its inputs"
            )


def _record(
    session: Session,
    shard: ShardRow,
    files: Sequence[WrittenFile],
    outcomes: Sequence[InputOutcome],
    failures: Sequence[InputFailure],
) -> None:
    shard.state = "done"
    session.flush()
    fault_point("commit.shard")
    state = "staged" if run_row(session, shard.run_id).replaces else "visible"
    if shard.kind == "assembly" and state == "visible":
        # Readers of a video that is processed again see the old files until this transaction ends.
        supersede_files(session, [shard.id])
    add_files(session, files, state, run_id=shard.run_id, shard_id=shard.id)
    # Sorted, so that two writers cannot wait for each other.
    for name in sorted({camera for file in files for camera in file.cameras}):
        camera = upsert(session, CameraRow).values(name=name, clock_offset_s=0.0)
        session.execute(camera.on_conflict_do_nothing())
    fault_point("commit.files")
    if outcomes:
        inputs = select(InputRow.position, InputRow.id).where(InputRow.shard_id == shard.id)
        ids = dict(session.execute(inputs).all())
        session.execute(update(InputRow), [vars(outcome) | {"id": ids[outcome.position]} for outcome in outcomes])
    if failures:
        common = {"run_id": shard.run_id, "shard_id": shard.id}
        session.execute(insert(FrameFailureRow), [vars(failure) | common for failure in failures])
    if shard.kind == "assembly":
        retire_files(session, slices_of(shard))
    fault_point("commit.inputs")


def _split(session: Session, shard: ShardRow, inputs: Sequence[int], select_inputs: SelectInputs) -> None:
    half = len(inputs) // 2
    shard.state = "split"
    for positions in (range(half), range(half, len(inputs))):
        row = add_pending_shard(session, shard.run_id, shard.position, shard, select_inputs(shard.spec, positions))
        move_inputs(session, row.id, [inputs[position] for position in positions])
        fault_point("death.half")


def _quarantine(session: Session, shard: ShardRow, reason: str) -> None:
    shard.state = "quarantined"
    parts: Select[Any] = select(ShardRow.id).where(ShardRow.id == shard.id)
    if shard.kind == "assembly":
        parts = slices_of(shard)
    retire_files(session, parts)
    # The files of an earlier assembly of this video are visible until now.
    retire_files(session, [shard.id])
    session.execute(update(ShardRow).where(ShardRow.id.in_(parts)).values(state="quarantined"))
    session.execute(
        update(InputRow)
        .where(InputRow.shard_id.in_(parts), InputRow.state != "quarantined")
        .values(state="quarantined", rows=0, reason="worker-died", detail=reason)
    )
