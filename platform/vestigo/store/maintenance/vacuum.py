"""Removing what no reader sees: files that a crash left behind, and files that were replaced."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from vestigo.store.parquet.files import PARTIAL, DataRoot, FileInfo
from vestigo.store.parquet.schemas import KINDS
from vestigo.store.runs.leases import is_held
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, RunRow

GRACE = timedelta(hours=1)
"""A younger file may be about to be committed, or be open in a reader that began before it was retired."""
_OURS = re.compile(rf"[^/]+/({'|'.join(KINDS)})/[^/]+\.parquet({re.escape(PARTIAL)})?")


@dataclass(frozen=True)
class VacuumReport:
    """What `vacuum` removed, or would remove."""

    files: int
    bytes: int
    paths: tuple[str, ...]


def is_ours(path: str) -> bool:
    """Whether a path below the data root looks like one that a store writes; nothing else is ever touched."""
    return _OURS.fullmatch(path) is not None


def vacuum(database: Database, root: DataRoot, *, dry_run: bool, now: bool) -> VacuumReport:
    """Remove retired files and files that the catalogue does not know; `now` also those younger than an hour.

    Files of a run that a live driver holds are left alone in any case, unless they were retired.
    """
    # Listed first: a file that is committed afterwards is known by the time the catalogue is read.
    listed = [info for info in root.folder.walk() if is_ours(info.path)]
    before = datetime.now(UTC) - (timedelta() if now else GRACE)
    with database.read() as session:
        known = set(session.scalars(select(DataFileRow.path).where(DataFileRow.state != "removed")))
        retired = session.execute(
            select(DataFileRow.path, DataFileRow.bytes).where(
                DataFileRow.state == "retired", DataFileRow.retired <= before
            )
        ).all()
        driven = {run.id for run in session.scalars(select(RunRow)) if is_held(run)}
    stray = [info for info in listed if info.path not in known and _may_go(info, driven, before)]
    paths = [path for path, _ in retired] + [info.path for info in stray]
    if not dry_run:
        for path in paths:
            root.folder.delete(path)
        with database.write() as session:
            gone = update(DataFileRow).where(DataFileRow.state == "retired", DataFileRow.retired <= before)
            session.execute(gone.values(state="removed"))
    size = sum(bytes_ for _, bytes_ in retired) + sum(info.bytes for info in stray)
    return VacuumReport(files=len(paths), bytes=size, paths=tuple(sorted(paths)))


def _may_go(info: FileInfo, driven: set[str], before: datetime) -> bool:
    return info.path.partition("/")[0] not in driven and info.modified is not None and info.modified <= before
