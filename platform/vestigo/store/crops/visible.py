"""Which files, and which of their rows, a reader sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from vestigo.store.sql.tables import CameraRow, DataFileRow, InputRow, ModelRow, RunRow
from vestigo_models.errors import StoreError


@dataclass(frozen=True)
class VisibleFile:
    """A file of visible crops; rows whose `input` is in `hidden` were replaced and are passed over.

    `id` is the catalogue's, `rows` counts all rows, hidden ones too.
    """

    id: int
    path: str
    rows: int
    run: str
    model: str
    hidden: frozenset[str]


@dataclass(frozen=True)
class Span:
    """A choice of cameras and of a stretch of corrected time, `since` included and `until` not."""

    cameras: frozenset[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


def crop_files(
    session: Session, model: str | None = None, span: Span | None = None, ids: Collection[int] | None = None
) -> list[VisibleFile]:
    """Return the files with visible crops, those of the newest model first; files outside `span` are left out, and
    with `ids` all others.

    Raises StoreError for a model that is not in the store.
    """
    if model is not None and session.get(ModelRow, model) is None:
        raise StoreError(f"the store holds no crops of model {model}: index with it first (`vestigo index --model`)")
    file = DataFileRow
    query = (
        select(file.id, file.path, file.rows, file.shard_id, file.cameras, file.first_time, file.last_time)
        .add_columns(RunRow.id.label("run"), RunRow.model_digest.label("model"))
        .join(RunRow, RunRow.id == DataFileRow.run_id)
        .join(ModelRow, ModelRow.digest == RunRow.model_digest)
        .where(DataFileRow.kind == "crops", DataFileRow.state == "visible", DataFileRow.rows > 0)
        .order_by(ModelRow.registered.desc(), ModelRow.digest, DataFileRow.id)
    )
    if model is not None:
        query = query.where(RunRow.model_digest == model)
    if ids is not None:
        query = query.where(DataFileRow.id.in_(list(ids)))
    hidden = _hidden(session)
    offsets = clock_offsets(session)
    return [
        VisibleFile(row.id, row.path, row.rows, row.run, row.model, hidden.get(row.shard_id, frozenset()))
        for row in session.execute(query)
        if span is None or _may_hold(row, span, offsets)
    ]


def clock_offsets(session: Session) -> dict[str, timedelta]:
    """Return what is added to the recorded times of each camera whose clock is not right."""
    rows = session.scalars(select(CameraRow).where(CameraRow.clock_offset_s != 0))
    return {row.name: timedelta(seconds=row.clock_offset_s) for row in rows}


def current_snapshot(session: Session) -> str:
    """Return the SHA-256 that names what readers see now: contents of files, rows passed over, clock offsets.

    It stays the same under migration, vacuuming and moving the store; equal digests mean equal rows.
    """
    query = (
        select(DataFileRow.checksum, RunRow.model_digest, DataFileRow.shard_id)
        .join(RunRow, RunRow.id == DataFileRow.run_id)
        .where(DataFileRow.kind == "crops", DataFileRow.state == "visible", DataFileRow.rows > 0)
    )
    hidden = _hidden(session)
    files = sorted([sum_, model, sorted(hidden.get(shard, ()))] for sum_, model, shard in session.execute(query))
    clocks = sorted((name, offset.total_seconds()) for name, offset in clock_offsets(session).items())
    return hashlib.sha256(json.dumps([files, clocks]).encode()).hexdigest()


def _hidden(session: Session) -> dict[int | None, frozenset[str]]:
    query = (
        select(InputRow.shard_id, InputRow.name)
        .join(DataFileRow, DataFileRow.shard_id == InputRow.shard_id)
        .where(InputRow.retired, DataFileRow.kind == "crops", DataFileRow.state == "visible")
    )
    names: dict[int | None, set[str]] = {}
    for shard_id, name in session.execute(query):
        names.setdefault(shard_id, set()).add(name)
    return {shard_id: frozenset(some) for shard_id, some in names.items()}


def _may_hold(row: Row[Any], span: Span, offsets: dict[str, timedelta]) -> bool:
    cameras: Collection[str] = row.cameras
    if span.cameras is not None and span.cameras.isdisjoint(cameras):
        return False
    if span.since is None and span.until is None:
        return True
    if row.first_time is None or row.last_time is None:
        return False
    shifts = [offsets.get(camera, timedelta()) for camera in cameras]
    late = span.until is not None and row.first_time + min(shifts, default=timedelta()) >= span.until
    early = span.since is not None and row.last_time + max(shifts, default=timedelta()) < span.since
    return not (late or early)
