"""Vacuum of a store: delete replaced files and files that a crash left behind."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from vestigo.store.parquet.files import PARTIAL, PENDING, DataRoot, FileInfo
from vestigo.store.parquet.schemas import FILE_SCHEMAS
from vestigo.store.runs.leases import is_alive, is_held
from vestigo.store.runs.records import Owner
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, RunRow

GRACE = timedelta(hours=1)
"""A younger file may be committed soon, or still be read."""
_MARKER = re.compile(rf"(?P<folder>[^/]+)/{PENDING}/(?P<host>[^/]+)\.(?P<pid>\d+)\.[0-9a-f]+")
_STORE_FILE = re.compile(rf"[^/]+/({'|'.join(FILE_SCHEMAS)})/[^/]+\.parquet({re.escape(PARTIAL)})?|{_MARKER.pattern}")


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

    Files that a live process has written and not committed yet are kept: those of a run that it drives, and those that
    it has marked (`DataRoot.pending`). With `dry_run` nothing is deleted.
    """
    # Listed before the markers, which are made before files and removed after the commit, and those before the
    # catalogue is read, which then lists every file that is committed meanwhile.
    listed = [info for info in root.folder.walk() if is_store_file(info.path)]
    driven = _pending_folders(listed, root.folder.walk())
    before = datetime.now(UTC) - (timedelta() if now else GRACE)
    # A driver that holds its lease now may commit until then; one whose lease has expired cannot any more.
    driven |= database.fetch(_held_runs) if dry_run else database.change(_end_expired_leases)
    listed_files = select(DataFileRow.path).where(DataFileRow.state != "removed")
    old = select(DataFileRow.path, DataFileRow.bytes).where(
        DataFileRow.state == "retired", DataFileRow.retired <= before
    )
    known, retired = database.fetch(lambda session: (set(session.scalars(listed_files)), session.execute(old).all()))
    stray = [info for info in listed if info.path not in known and _is_removable(info, driven, before)]
    paths = [path for path, _ in retired] + [info.path for info in stray]
    if not dry_run:
        for path in paths:
            root.folder.delete(path)
        rows = update(DataFileRow).where(DataFileRow.state == "retired", DataFileRow.retired <= before)
        database.change(lambda session: session.execute(rows.values(state="removed")))
    size = sum(bytes_ for _, bytes_ in retired) + sum(info.bytes for info in stray)
    return VacuumReport(files=len(paths), bytes=size, paths=tuple(sorted(paths)))


def _held_runs(session: Session) -> set[str]:
    return {run.id for run in session.scalars(select(RunRow).where(RunRow.host.is_not(None))) if is_held(run)}


def _end_expired_leases(session: Session) -> set[str]:
    """End the leases of silent drivers, which may be suspended, and return the runs that others hold."""
    held = set[str]()
    for run in session.scalars(select(RunRow).where(RunRow.host.is_not(None)).with_for_update()):
        if is_held(run):
            held.add(run.id)
        else:
            run.host = run.pid = run.heartbeat = None
    return held


def _is_removable(info: FileInfo, driven: set[str], before: datetime) -> bool:
    return info.path.partition("/")[0] not in driven and info.modified is not None and info.modified <= before


def _pending_folders(listed: Sequence[FileInfo], markers: Iterable[FileInfo]) -> set[str]:
    """Return the folders with a marker of a live process.

    Whether a process of another host lives is unknown: it counts as long as a file of the folder is younger than an
    hour.
    """
    since = datetime.now(UTC) - GRACE
    young = {info.path.partition("/")[0] for info in listed if info.modified is None or info.modified > since}
    folders = set[str]()
    for marker in filter(None, (_MARKER.fullmatch(info.path) for info in markers)):
        owner = Owner(unquote(marker["host"]), int(marker["pid"]))
        if is_alive(owner.pid) if owner.host == Owner.current().host else marker["folder"] in young:
            folders.add(marker["folder"])
    return folders
