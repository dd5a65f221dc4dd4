"""Vacuum of a store: delete replaced files and files that a crash left behind."""

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
"""A younger file may be committed soon, or still be read."""
_STORE_FILE = re.compile(rf"[^/]+/({'|'.join(KINDS)})/[^/]+\.parquet({re.escape(PARTIAL)})?")


@dataclass(frozen=True)
class VacuumReport:
    """Files that `vacuum` removed, or would remove."""

    files: int
    bytes: int
    paths: tuple[str, ...]


def is_store_file(path: str) -> bool:
    """Return whether a store writes files with this path; no other files are deleted."""
    return _STORE_FILE.fullmatch(path) is not None


def vacuum(database: Database, root: DataRoot, *, dry_run: bool, now: bool) -> VacuumReport:
    """Delete retired files and files that the catalogue does not list, with `now` also those younger than an hour.

    Files of a run that a live driver holds are kept unless they are retired. With `dry_run` nothing is deleted.
    """
    # Listed before the catalogue is read, which then lists every file that is committed meanwhile.
    listed = [info for info in root.folder.walk() if is_store_file(info.path)]
    before = datetime.now(UTC) - (timedelta() if now else GRACE)
    with database.read() as session:
        known = set(session.scalars(select(DataFileRow.path).where(DataFileRow.state != "removed")))
        retired = session.execute(
            select(DataFileRow.path, DataFileRow.bytes).where(
                DataFileRow.state == "retired", DataFileRow.retired <= before
            )
        ).all()
        driven = {run.id for run in session.scalars(select(RunRow)) if is_held(run)}
    stray = [info for info in listed if info.path not in known and _is_removable(info, driven, before)]
    paths = [path for path, _ in retired] + [info.path for info in stray]
    if not dry_run:
        for path in paths:
            root.folder.delete(path)
        with database.write() as session:
            rows = update(DataFileRow).where(DataFileRow.state == "retired", DataFileRow.retired <= before)
            session.execute(rows.values(state="removed"))
    size = sum(bytes_ for _, bytes_ in retired) + sum(info.bytes for info in stray)
    return VacuumReport(files=len(paths), bytes=size, paths=tuple(sorted(paths)))


def _is_removable(info: FileInfo, driven: set[str], before: datetime) -> bool:
    return info.path.partition("/")[0] not in driven and info.modified is not None and info.modified <= before
