"""Visible crops in the catalogue: their files, hidden rows, clock offsets, and snapshot.

Files keep the recorded times; readers add the clock offset of the camera.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import Function, Row, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from vestigo.store.runs.rows import visible_files
from vestigo.store.sql.tables import CameraRow, DataFileRow, InputRow, ModelRow, RunRow
from vestigo_models.errors import StoreError


@dataclass(frozen=True)
class VisibleFile:
    """A file of visible crops: `run` is an id, `model` a digest, `rows` includes hidden rows.

    Readers skip the rows of the inputs named in `hidden`, which were replaced.
    """

    id: int
    path: str
    rows: int
    run: str
    model: str
    hidden: frozenset[str]

    @property
    def state(self) -> str:
        """What an index has read of the file: its path, which is never reused, and a digest of its hidden inputs."""
        hidden = hashlib.sha256("\0".join(sorted(self.hidden)).encode()).hexdigest() if self.hidden else ""
        return f"{self.path} {hidden}"


class CropSelection(TypedDict, total=False):
    """Optional keyword arguments of methods that read crops; `StoreError` for an unknown camera.

    Attributes:
        cameras: Names of the only cameras to read.
        since: Earliest time, included; crops without a time are then skipped.
        until: Latest time, excluded; crops without a time are then skipped.
    """

    cameras: Sequence[str] | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True)
class CropFilter:
    """Cameras and corrected times to read: `since` <= time < `until`; None is no restriction."""

    cameras: Collection[str] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for time in (self.since, self.until):
            if time is not None and time.tzinfo is None:
                raise StoreError(f"time {time} has no zone: append one, such as +00:00")


ALL_CROPS = CropFilter()


def crop_files(
    session: Session, model: str | None = None, crop_filter: CropFilter = ALL_CROPS, ids: Collection[int] | None = None
) -> list[VisibleFile]:
    """Return the files with visible crops, those of the newest model first.

    Only files of `model`, with `ids`, and with crops that `crop_filter` admits; `StoreError` for an unknown model.
    """
    if model is not None and session.get(ModelRow, model) is None:
        raise StoreError(f"the store holds no crops of model {model}: index with it first (`vestigo index --model`)")
    file = DataFileRow
    query = (
        visible_files("crops", file.id, file.path, file.rows, file.shard_id, file.cameras)
        .add_columns(file.first_time, file.last_time, RunRow.id.label("run"), RunRow.model.label("model"))
        .join(ModelRow, ModelRow.digest == RunRow.model)
        .where(file.rows > 0)
        .order_by(ModelRow.registered.desc(), ModelRow.digest, file.id)
    )
    if model is not None:
        query = query.where(RunRow.model == model)
    if ids is not None:
        query = query.where(file.id.in_(list(ids)))
    hidden = _hidden_inputs(session)
    offsets = clock_offsets(session)
    return [
        VisibleFile(row.id, row.path, row.rows, row.run, row.model, hidden.get(row.shard_id, frozenset()))
        for row in session.execute(query)
        if _may_match(row, crop_filter, offsets)
    ]


def clock_offsets(session: Session) -> dict[str, timedelta]:
    """Return the clock offsets that are not 0, by camera."""
    rows = session.scalars(select(CameraRow).where(CameraRow.clock_offset_s != 0))
    return {row.name: timedelta(seconds=row.clock_offset_s) for row in rows}


def current_snapshot(session: Session) -> str:
    """Return the SHA-256 of what readers see now: contents of files, hidden inputs and clock offsets.

    Equal digests mean equal rows. Migration, vacuum and a move of the store do not change it.
    """
    query = visible_files("crops", DataFileRow.checksum, RunRow.model, DataFileRow.shard_id)
    rows = session.execute(query.where(DataFileRow.rows > 0))
    hidden = _hidden_inputs(session)
    files = sorted([checksum, model, sorted(hidden.get(shard, ()))] for checksum, model, shard in rows)
    clocks = sorted((name, offset.total_seconds()) for name, offset in clock_offsets(session).items())
    return hashlib.sha256(json.dumps([files, clocks]).encode()).hexdigest()


def current_state(session: Session) -> str:
    """Return a text that changes with the visible files, the hidden inputs and the clock offsets.

    Ids are never used again, and a sum of their hashes differs for other ids, as far as two texts are ever compared.
    """
    files = visible_files("crops", func.count(), *_sums(DataFileRow.id)).where(DataFileRow.rows > 0)
    inputs = select(func.count(), *_sums(InputRow.id)).where(InputRow.retired)
    counts = [[int(number or 0) for number in session.execute(query).one()] for query in (files, inputs)]
    clocks = sorted((name, offset.total_seconds()) for name, offset in clock_offsets(session).items())
    return json.dumps([counts, clocks])


def _sums(column: InstrumentedAttribute[int]) -> tuple[Function[int], ...]:
    return func.sum(column), func.sum(column * 2654435761 % 4294967291), func.sum(column * 1597334677 % 4294967279)


def _hidden_inputs(session: Session) -> dict[int | None, frozenset[str]]:
    query = (
        select(InputRow.shard_id, InputRow.name)
        .join(DataFileRow, DataFileRow.shard_id == InputRow.shard_id)
        .where(InputRow.retired, DataFileRow.kind == "crops", DataFileRow.state == "visible")
    )
    names: dict[int | None, set[str]] = {}
    for shard_id, name in session.execute(query):
        names.setdefault(shard_id, set()).add(name)
    return {shard_id: frozenset(of_shard) for shard_id, of_shard in names.items()}


def _may_match(row: Row[Any], crop_filter: CropFilter, offsets: dict[str, timedelta]) -> bool:
    since, until = crop_filter.since, crop_filter.until
    if crop_filter.cameras is not None and set(row.cameras).isdisjoint(crop_filter.cameras):
        return False
    if since is None and until is None:
        return True
    if row.first_time is None or row.last_time is None:
        return False
    shifts = [offsets.get(camera, timedelta()) for camera in row.cameras]
    begins_too_late = until is not None and row.first_time + min(shifts, default=timedelta()) >= until
    ends_too_early = since is not None and row.last_time + max(shifts, default=timedelta()) < since
    return not (begins_too_late or ends_too_early)
