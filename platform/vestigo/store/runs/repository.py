"""Runs in the store: begin, list, count, drive, finish and retry them."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Subquery, cast, exists, func, literal, null, select, union_all
from sqlalchemy.orm import Session

from vestigo.store.faults import fault_point
from vestigo.store.runs import leases
from vestigo.store.runs.records import (
    FailureCount,
    HasVideo,
    InputFailure,
    Owner,
    RetryResult,
    Run,
    RunStatus,
    RunTotals,
    SelectInputs,
)
from vestigo.store.runs.retry import retry_inputs
from vestigo.store.runs.rows import PLAN_ORDER, inputs_of, replace_stale, run_row
from vestigo.store.sql.database import Database, to_record
from vestigo.store.sql.tables import DataFileRow, FrameFailureRow, InputRow, ModelRow, RunRow, ShardRow
from vestigo_models.errors import FingerprintMismatch, StoreError, hide_credentials

UNFINISHED = ("running", "failed", "cancelled")


@dataclass(frozen=True)
class RunRepository:
    """The runs of a store. Every method that changes a run is one transaction.

    Methods raise `StoreError` for an unknown run, and those of a driver if another driver has taken over the run.
    """

    database: Database

    def create(
        self, *, fingerprint: str, config: dict[str, Any], model: str, command: str, replaces: bool = False
    ) -> Run:
        """Begin a run; its id sorts by time, and `fingerprint` is the digest of `config`.

        If the run `replaces` others, its rows become visible only when it succeeds, and rows of the same inputs under
        other fingerprints are retired in the same transaction.

        Raises:
            StoreError: If no model with the digest `model` is registered.
        """
        now = datetime.now(UTC)
        run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"

        def add(session: Session) -> Run:
            if session.get(ModelRow, model) is None:
                raise StoreError(f"model {model} is not registered in the store: register it before the run")
            row = RunRow(
                id=run_id,
                created=now,
                status="running",
                fingerprint=fingerprint,
                config=config,
                model=model,
                command=command,
                replaces=replaces,
                planned=False,
                planned_inputs=0,
                cancel_requested=False,
                seconds=0.0,
            )
            session.add(row)
            session.flush()
            return to_record(Run, row)

        return self.database.change(add)

    def get(self, run_id: str) -> Run:
        """Return a run."""
        return self.database.fetch(lambda session: to_record(Run, run_row(session, run_id)))

    def list(self, *, newest_first: bool = False, offset: int = 0, limit: int | None = None) -> Sequence[Run]:
        """Return the runs, or `limit` of them from `offset` on, oldest first by default."""
        order = (RunRow.created.desc(), RunRow.id.desc()) if newest_first else (RunRow.created, RunRow.id)
        query = select(RunRow).order_by(*order).offset(offset).limit(limit)
        return self.database.records(Run, query)

    def count(self) -> int:
        """Count the runs."""
        return self.database.scalars(select(func.count()).select_from(RunRow))[0]

    def stale(self, model: str) -> Sequence[Run]:
        """Return the index runs with visible crops of other models than `model`, oldest first."""
        has_rows = exists().where(
            ShardRow.run_id == RunRow.id,
            InputRow.shard_id == ShardRow.id,
            InputRow.state == "done",
            InputRow.rows > 0,
            ~InputRow.retired,
        )
        query = select(RunRow).where(RunRow.model != model, has_rows).order_by(RunRow.created, RunRow.id)
        runs = self.database.records(Run, query)
        return [run for run in runs if run.kind == "index"]

    def find_unfinished(self, fingerprint: str) -> Run | None:
        """Return the newest run under `fingerprint` that did not succeed, None if there is none."""
        return self._latest(fingerprint, RunRow.status.in_(UNFINISHED))

    def differences(self, fingerprint: str, config: dict[str, Any]) -> Sequence[str]:
        """Return one line for each value in which `config` differs from the newest run under `fingerprint`."""
        run = self._latest(fingerprint)
        return [] if run is None else _differences(run.config, config)

    def require_fingerprint(self, run_id: str, fingerprint: str, config: dict[str, Any]) -> None:
        """Check that a run is bound to `fingerprint`.

        Raises:
            FingerprintMismatch: If it is not; the message names the values that differ.
        """
        run = self.get(run_id)
        if run.fingerprint != fingerprint:
            default = f"fingerprint {run.fingerprint} there, {fingerprint} here"
            named = "; ".join(_differences(run.config, config)) or default
            raise FingerprintMismatch(f"run {run.id} is bound to another configuration ({named}): begin a new run")

    def totals(self, run_id: str) -> RunTotals:
        """Count the inputs of a run by state, and its crops, tracklets and label maps."""
        return self.database.fetch(lambda session: run_totals(session, run_id))

    def failures(
        self, run_id: str, limit: int | None = None, *, offset: int = 0, reason: str | None = None
    ) -> Sequence[InputFailure]:
        """Return the failures of a run, of one `reason` or of any: inputs in order of the plan, then single frames."""
        failed = _failures(run_id)
        query = select(failed.c.input, failed.c.frame, failed.c.reason, failed.c.detail).offset(offset).limit(limit)
        if reason is not None:
            query = query.where(failed.c.reason == reason)
        order = failed.c.frame.is_not(None), failed.c.shard_position, failed.c.shard, failed.c.place
        return [InputFailure(*row) for row in self.database.rows(query.order_by(*order))]

    def failure_counts(self, run_id: str) -> Sequence[FailureCount]:
        """Count the failures of a run by reason, the most frequent reason first."""
        failed = _failures(run_id)
        total, frames = func.count(), func.count(failed.c.frame)
        query = select(failed.c.reason, total - frames, frames).group_by(failed.c.reason)
        return [FailureCount(*row) for row in self.database.rows(query.order_by(total.desc(), failed.c.reason))]

    def empty_inputs(self, run_id: str, limit: int | None = None) -> Sequence[str]:
        """Return the names of the inputs in which a run detected no person, in order of the plan."""
        return self.database.scalars(inputs_of(run_id, "empty", InputRow.name).order_by(*PLAN_ORDER).limit(limit))

    def passed_over(self, run_id: str) -> dict[str, int]:
        """Count the files that a run passed over by their kind, the most frequent kind first."""
        query = inputs_of(run_id, "passed_over", InputRow.reason, func.count()).group_by(InputRow.reason)
        return dict(self.database.rows(query.order_by(func.count().desc(), InputRow.reason)))

    def videos_without_times(self, run_id: str, limit: int | None = None) -> Sequence[str]:
        """Return the names of a run's videos whose packets carry no usable times, so that its rate gives them."""
        video = ShardRow.spec["shard"]["video"]
        name = video["name"].as_string()
        query = select(name).where(
            ShardRow.run_id == run_id, ShardRow.kind == "slice", video["info"]["ordered"].as_boolean().is_(False)
        )
        return self.database.scalars(query.distinct().order_by(name).limit(limit))

    def retry(
        self,
        run_id: str,
        names: Collection[str] | None = None,
        *,
        reason: str | None = None,
        select: SelectInputs,
        has_video: HasVideo,
    ) -> RetryResult:
        """Set quarantined inputs of a run, all or those with `names` and `reason`, back to pending and reopen the run.

        Raises:
            StoreError: If a live driver holds the run, a name is not quarantined, or no input can be retried.
        """
        fault_point("retry.before")

        def reopen(session: Session) -> RetryResult:
            row = run_row(session, run_id, lock=True)
            leases.require_free(row, Owner.current())
            retried = retry_inputs(session, run_id, names, reason, select, has_video)
            leases.reopen(row)
            session.flush()
            fault_point("retry.inside")
            return retried

        retried = self.database.change(reopen)
        fault_point("retry.after")
        return retried

    def is_driven(self, run_id: str) -> bool:
        """Return whether a live process drives a run; a driver on another host counts for 60 s after its heartbeat."""
        return self.database.fetch(lambda session: leases.is_held(run_row(session, run_id)))

    def take_lease(self, run_id: str, owner: Owner | None = None) -> Run:
        """Make `owner`, by default this process, the driver of a run that has not succeeded.

        Raises:
            StoreError: If the run has succeeded or a live driver holds it; the message names the process.
        """
        driver = owner or Owner.current()

        def take(session: Session) -> Run:
            row = run_row(session, run_id, lock=True)
            if row.status == "succeeded":
                raise StoreError(f"run {run_id} has succeeded: there is nothing left to do")
            leases.require_free(row, driver)
            leases.reopen(row)
            row.host, row.pid, row.heartbeat = driver.host, driver.pid, datetime.now(UTC)
            return to_record(Run, row)

        return self.database.change(take)

    def heartbeat(self, run_id: str, owner: Owner | None = None) -> None:
        """Record that the driver is alive; drivers call this at least once a minute."""

        def record(session: Session) -> None:
            row = run_row(session, run_id, lock=True)
            leases.require_owner(row, owner or Owner.current())
            leases.record_heartbeat(row)

        self.database.change(record)

    def release_lease(self, run_id: str, owner: Owner | None = None) -> None:
        """Stop driving a run and keep its status; does nothing if `owner` does not drive it."""
        driver = owner or Owner.current()

        def release(session: Session) -> None:
            row = run_row(session, run_id, lock=True)
            if (row.host, row.pid) == (driver.host, driver.pid):
                leases.release(row)

        self.database.change(release)

    def finish(self, run_id: str, status: RunStatus, owner: Owner | None = None, *, error: str | None = None) -> Run:
        """End a run and release its lease; a run that succeeds and replaces others becomes visible.

        `owner` is the driver, by default this process; `error` is the reason of a failure, in one line.

        Raises:
            StoreError: If `status` is `succeeded` while shards are pending, or another driver has taken over the run.
        """
        fault_point("finish.before")

        def finish(session: Session) -> Run:
            row = run_row(session, run_id, lock=True)
            leases.require_owner(row, owner or Owner.current())
            _finish(session, row, status, error)
            return to_record(Run, row)

        run = self.database.change(finish)
        fault_point("finish.after")
        return run

    def request_cancel(self, run_id: str) -> Run:
        """Request that the driver of a run stops; an unfinished run without a live driver is cancelled at once."""

        def cancel(session: Session) -> Run:
            row = run_row(session, run_id, lock=True)
            if row.status == "running":
                if leases.is_held(row):
                    row.cancel_requested = True
                else:
                    row.status, row.finished = "cancelled", datetime.now(UTC)
            return to_record(Run, row)

        return self.database.change(cancel)

    def _latest(self, fingerprint: str, *conditions: ColumnElement[bool]) -> Run | None:
        query = select(RunRow).where(RunRow.fingerprint == fingerprint, *conditions)
        newest = query.order_by(RunRow.created.desc(), RunRow.id.desc()).limit(1)
        return next(iter(self.database.records(Run, newest)), None)


def _finish(session: Session, row: RunRow, status: RunStatus, error: str | None) -> None:
    pending = select(ShardRow.id).where(ShardRow.run_id == row.id, ShardRow.state == "pending").limit(1)
    if status == "succeeded" and (not row.planned or session.scalar(pending) is not None):
        raise StoreError(f"run {row.id} has shards that are not done: resume it with `vestigo runs resume {row.id}`")
    leases.release(row)
    row.status, row.finished, row.cancel_requested = status, datetime.now(UTC), False
    row.error = None if error is None else hide_credentials(error)
    if status == "succeeded" and row.replaces:
        replace_stale(session, row)
    session.flush()
    fault_point("finish.inside")


def run_totals(session: Session, run_id: str) -> RunTotals:
    """Count the inputs of a run by state and the rows of its files by kind; see `RunRepository.totals`."""
    run_row(session, run_id)
    by_state = select(InputRow.state, func.count()).join(ShardRow).where(ShardRow.run_id == run_id)
    states = {str(state): int(count) for state, count in session.execute(by_state.group_by(InputRow.state))}
    by_kind = select(DataFileRow.kind, func.sum(DataFileRow.rows)).where(DataFileRow.run_id == run_id)
    rows = {kind: int(total) for kind, total in session.execute(by_kind.group_by(DataFileRow.kind))}
    frames = session.scalar(select(func.count()).where(FrameFailureRow.run_id == run_id))
    counts = states | rows | {"inputs": sum(states.values()), "frame_failures": frames or 0}
    return RunTotals(**{field.name: counts.get(field.name, 0) for field in fields(RunTotals)})


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Return one line, with its dotted name, for every value of two JSON configurations that differs."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        return [
            line for key in keys for line in _differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if there == here else [f"{name}: {there!r} there, {here!r} here"]


def _failures(run_id: str) -> Subquery:
    """Return the quarantined inputs of a run, and its failed frames, which have no shard here."""
    inputs = inputs_of(
        run_id,
        "quarantined",
        InputRow.name.label("input"),
        cast(null(), BigInteger).label("frame"),
        func.coalesce(InputRow.reason, "").label("reason"),
        func.coalesce(InputRow.detail, "").label("detail"),
        ShardRow.position.label("shard_position"),
        ShardRow.id.label("shard"),
        InputRow.position.label("place"),
    )
    failed = FrameFailureRow
    frames = select(failed.input, failed.frame, failed.reason, failed.detail, literal(0), literal(0), failed.id)
    return union_all(inputs, frames.where(failed.run_id == run_id)).subquery()
