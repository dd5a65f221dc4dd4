"""Check of a store: every file, row and count against the catalogue."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy import select

from vestigo.store.crops.digest import CropDigest
from vestigo.store.crops.reader import CropReader
from vestigo.store.crops.visible import VisibleFile, crop_files
from vestigo.store.maintenance.vacuum import is_store_file
from vestigo.store.parquet.files import GROUP_ROWS, DataRoot
from vestigo.store.parquet.schemas import CROP_COLUMNS, SCHEMA_VERSIONS, schema_problem
from vestigo.store.runs.ledger import ledger_problems
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, RunRow
from vestigo_models.errors import StoreError
from vestigo_models.progress import ProgressCallback

NAMED = 20
"""Crops visible twice that a report lists."""
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class CheckReport:
    """Result of `check`; `digest` is the SHA-256 of the visible crops, `unreferenced` files are left to `vacuum`."""

    intact: bool
    crops: int
    digest: str
    problems: tuple[str, ...]
    runs: int
    files: int
    unreferenced: int


def check(database: Database, root: DataRoot, progress: ProgressCallback) -> CheckReport:
    """Verify a store against one snapshot of its catalogue; memory does not grow with the crops.

    Unreferenced files are no problem: a crash leaves them, and `vacuum` removes them.

    Args:
        database: The catalogue.
        root: The files.
        progress: Called with the numbers of verified and of all files.
    """
    listed = [info.path for info in root.folder.walk() if is_store_file(info.path)]
    with database.read() as session:
        problems = list(ledger_problems(session))
        runs = len(session.scalars(select(RunRow.id)).all())
        files = session.scalars(select(DataFileRow).where(DataFileRow.retired.is_(None)).order_by(DataFileRow.id)).all()
        visible = {file.path: file for file in crop_files(session)}
        known = set(session.scalars(select(DataFileRow.path)))
    with closing(CropDigest()) as digest:
        for done, file in enumerate(files):
            progress(done, len(files))
            of_file = list(_file_problems(root, file))
            problems += of_file
            if not of_file and file.path in visible:
                _add_rows(digest, root, visible[file.path])
        progress(len(files), len(files))
        problems += [f"crop {crop} of model {model} is visible twice" for crop, model in digest.duplicates(NAMED)]
        return CheckReport(
            intact=not problems,
            crops=digest.count(),
            digest=digest.hexdigest(),
            problems=tuple(problems),
            runs=runs,
            files=len(files),
            unreferenced=sum(path not in known for path in listed),
        )


def _file_problems(root: DataRoot, file: DataFileRow) -> Iterator[str]:
    size = root.folder.size(file.path)
    if size is None:
        yield f"file {file.path} is missing"
        return
    if size != file.bytes or _checksum(root, file.path) != file.checksum:
        yield f"file {file.path} has other bytes than were written"
        return
    try:
        with closing(root.open(file.path)) as parquet:
            rows, schema = parquet.metadata.num_rows, parquet.schema_arrow
    except (StoreError, pa.ArrowException) as error:
        yield f"file {file.path}: {error}"
        return
    if rows != file.rows:
        yield f"file {file.path} has {rows} rows, the catalogue says {file.rows}"
    newest = SCHEMA_VERSIONS.get(file.kind, 0)
    if file.schema_version > newest:
        yield f"file {file.path} has schema version {file.schema_version}, this Vestigo reads up to {newest}"
    elif problem := schema_problem(file.kind, schema, file.schema_version):
        yield f"file {file.path}: {problem}"


def _checksum(root: DataRoot, path: str) -> str:
    digest = hashlib.sha256()
    with root.folder.open(path) as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _add_rows(digest: CropDigest, root: DataRoot, file: VisibleFile) -> None:
    # The digest covers the stored times, without clock offsets.
    for batch in CropReader(root, [file], {}).scan(CROP_COLUMNS, GROUP_ROWS):
        digest.add(batch, file.model)
