"""Runs and models in the catalogue: begun, found, counted, compared."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from vestigo.store.models.facts import ModelFacts
from vestigo.store.runs.records import Failure, FailureCount, Model, Run, RunTotals
from vestigo.store.sql.database import upsert
from vestigo.store.sql.tables import DataFileRow, FrameFailureRow, InputRow, ModelRow, RunRow, ShardRow
from vestigo_models.errors import FingerprintMismatch, StoreError

UNFINISHED = ("running", "failed", "cancelled")
NEWEST_FIRST = (ModelRow.registered.desc(), ModelRow.digest)


def register_model(session: Session, digest: str, name: str, location: str, facts: ModelFacts | None) -> None:
    """Make a model known; where it is, name and location follow the latest registration, and facts if there are."""
    latest: dict[str, Any] = {"name": name, "location": location}
    if facts is not None:
        latest["facts"] = facts.to_dict()
    new = {"digest": digest, "registered": datetime.now(UTC), "facts": {}, "origin": {}, "scores": {}}
    row = upsert(session, ModelRow).values(new | latest)
    session.execute(row.on_conflict_do_update(index_elements=["digest"], set_=latest))


def models(session: Session) -> list[Model]:
    """Return the models, newest first."""
    return [to_model(row) for row in session.scalars(select(ModelRow).order_by(*NEWEST_FIRST))]


def create_run(
    session: Session, fingerprint: str, config: dict[str, Any], model: str, command: str, replaces: bool
) -> Run:
    """Begin a run; its id sorts by time. Raises StoreError for a model that is not registered."""
    if session.get(ModelRow, model) is None:
        raise StoreError(f"model {model} is not registered in the store: register it before the run")
    now = datetime.now(UTC)
    row = RunRow(
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        created=now,
        status="running",
        fingerprint=fingerprint,
        config=config,
        model_digest=model,
        command=command,
        replaces=replaces,
        planned=False,
        planned_inputs=0,
        cancel_requested=False,
        seconds=0.0,
    )
    session.add(row)
    session.flush()
    return to_run(row)


def run_row(session: Session, run_id: str, *, lock: bool = False) -> RunRow:
    """Return a run's row; with `lock` no other transaction changes it meanwhile. Raises StoreError."""
    row = session.get(RunRow, run_id, with_for_update=lock)
    if row is None:
        raise StoreError(f"run {run_id} is not in the store: `vestigo runs list` names its runs")
    return row


def runs(session: Session, *, newest_first: bool = False, offset: int = 0, limit: int | None = None) -> list[Run]:
    """Return the runs, or `limit` of them from `offset` on, oldest first unless told otherwise."""
    order = (RunRow.created.desc(), RunRow.id.desc()) if newest_first else (RunRow.created, RunRow.id)
    return [to_run(row) for row in session.scalars(select(RunRow).order_by(*order).offset(offset).limit(limit))]


def count_runs(session: Session) -> int:
    """Count the runs."""
    return session.scalar(select(func.count()).select_from(RunRow)) or 0


def latest_run(session: Session, fingerprint: str, *, unfinished: bool = False) -> Run | None:
    """Return the newest run under a fingerprint, of all or only of those that did not succeed."""
    query = select(RunRow).where(RunRow.fingerprint == fingerprint)
    if unfinished:
        query = query.where(RunRow.status.in_(UNFINISHED))
    row = session.scalars(query.order_by(RunRow.created.desc(), RunRow.id.desc()).limit(1)).first()
    return None if row is None else to_run(row)


def totals(session: Session, run_id: str) -> RunTotals:
    """Count what became of a run's inputs, and the crops, tracklets and label maps that it made."""
    run_row(session, run_id)
    by_state = select(InputRow.state, func.count()).join(ShardRow).where(ShardRow.run_id == run_id)
    states = {str(state): int(count) for state, count in session.execute(by_state.group_by(InputRow.state))}
    by_kind = select(DataFileRow.kind, func.sum(DataFileRow.rows)).where(DataFileRow.run_id == run_id)
    rows = {kind: int(total) for kind, total in session.execute(by_kind.group_by(DataFileRow.kind))}
    frames = session.scalar(select(func.count()).where(FrameFailureRow.run_id == run_id))
    return RunTotals(
        inputs=sum(states.values()),
        done=states.get("done", 0),
        empty=states.get("empty", 0),
        quarantined=states.get("quarantined", 0),
        pending=states.get("pending", 0),
        frame_failures=frames or 0,
        crops=rows.get("crops", 0),
        tracklets=rows.get("tracklets", 0),
        regions=rows.get("regions", 0),
    )


def failures(
    session: Session, run_id: str, limit: int | None, offset: int = 0, reason: str | None = None
) -> Iterator[Failure]:
    """Yield what a run left out, for one `reason` or any: whole inputs in order of the plan, then single frames."""
    ours = (ShardRow.run_id == run_id, InputRow.state == "quarantined", _is(InputRow.reason, reason))
    whole = (
        select(InputRow.name, InputRow.reason, InputRow.detail)
        .join(ShardRow)
        .where(*ours)
        .order_by(ShardRow.position, ShardRow.id, InputRow.position)
        .offset(offset)
        .limit(limit)
    )
    count = 0
    for name, why, detail in session.execute(whole):
        count += 1
        yield Failure(name, None, why or "", detail or "")
    before = session.scalar(select(func.count()).select_from(InputRow).join(ShardRow).where(*ours)) if offset else 0
    frames = (
        select(FrameFailureRow)
        .where(FrameFailureRow.run_id == run_id, _is(FrameFailureRow.reason, reason))
        .order_by(FrameFailureRow.id)
        .offset(max(0, offset - (before or 0)))
    )
    for row in session.scalars(frames.limit(None if limit is None else limit - count)):
        yield Failure(row.input, row.frame, row.reason, row.detail)


def failure_counts(session: Session, run_id: str) -> list[FailureCount]:
    """Count what a run left out by reason, the most frequent first."""
    inputs = (
        select(InputRow.reason, func.count())
        .join(ShardRow)
        .where(ShardRow.run_id == run_id, InputRow.state == "quarantined")
        .group_by(InputRow.reason)
    )
    frames = (
        select(FrameFailureRow.reason, func.count())
        .where(FrameFailureRow.run_id == run_id)
        .group_by(FrameFailureRow.reason)
    )
    whole, single = ({str(why): int(n) for why, n in session.execute(query)} for query in (inputs, frames))
    counts = [FailureCount(why, whole.get(why, 0), single.get(why, 0)) for why in whole.keys() | single.keys()]
    return sorted(counts, key=lambda count: (-count.inputs - count.frames, count.reason))


def _is(column: InstrumentedAttribute[Any], value: str | None) -> ColumnElement[bool]:
    return true() if value is None else column == value


def empty_inputs(session: Session, run_id: str, limit: int | None) -> list[str]:
    """Name the inputs of a run that gave no row, in order of the plan."""
    empty = (
        select(InputRow.name)
        .join(ShardRow)
        .where(ShardRow.run_id == run_id, InputRow.state == "empty")
        .order_by(ShardRow.position, ShardRow.id, InputRow.position)
        .limit(limit)
    )
    return list(session.scalars(empty))


def require_fingerprint(run: Run, fingerprint: str, config: dict[str, Any]) -> None:
    """Raise FingerprintMismatch, naming what differs, unless `run` is bound to `fingerprint`."""
    if run.fingerprint != fingerprint:
        named = "; ".join(differences(run.config, config)) or f"fingerprint {run.fingerprint} there, {fingerprint} here"
        raise FingerprintMismatch(f"run {run.id} is bound to another configuration ({named}): begin a new run")


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Return one line for every value of two JSON configurations that differs, with its dotted name."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        return [
            line for key in keys for line in differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if there == here else [f"{name}: {there!r} there, {here!r} here"]


def to_run(row: RunRow) -> Run:
    """Return the public record of a run."""
    return Run(
        id=row.id,
        created=row.created,
        finished=row.finished,
        status=row.status,  # type: ignore[arg-type]
        fingerprint=row.fingerprint,
        config=row.config,
        model=row.model_digest,
        command=row.command,
        cancel_requested=row.cancel_requested,
        planned=row.planned,
        replaces=row.replaces,
        host=row.host,
        pid=row.pid,
        heartbeat=row.heartbeat,
        seconds=row.seconds,
        error=row.error,
    )


def to_model(row: ModelRow) -> Model:
    """Return the public record of a model. Raises StoreError for facts that cannot be read."""
    facts = ModelFacts.from_dict(row.facts, row.name)
    return Model(row.digest, row.name, row.location, row.registered, facts, row.parent, row.origin, row.scores)
