"""Check of a store: every file, row and count against the catalogue."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from vestigo.store.crops.reader import CropReader
from vestigo.store.crops.visible import VisibleFile, crop_files
from vestigo.store.maintenance.vacuum import is_store_file
from vestigo.store.parquet.files import GROUP_ROWS, DataRoot
from vestigo.store.parquet.schemas import CROP_COLUMNS, SCHEMA_VERSIONS, count_not_finite, schema_problem
from vestigo.store.runs.repository import run_totals
from vestigo.store.runs.rows import OUTPUT
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, InputRow, RunRow, ShardRow
from vestigo_models.errors import StoreError
from vestigo_models.progress import ProgressCallback

NAMED = 20
"""Crops visible twice that a report lists."""
READ_BYTES = 1 << 20
ALLOWED = {
    "pending": {"pending"},
    "done": {"done", "empty", "quarantined", "passed_over"},
    "quarantined": {"quarantined"},
    "split": set[str](),
}
"""Possible states of the inputs of a shard, by the state of the shard."""


# The source is a path, which depends on the place of the archive.
DIGESTED = tuple(name for name in CROP_COLUMNS if name != "source")


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

    Unreferenced files are no problem: a crash leaves them, and `vacuum` removes them. `progress` is called with the
    numbers of verified and of all files.
    """
    listed = [info.path for info in root.folder.walk() if is_store_file(info.path)]
    problems, runs, files, visible, known = database.fetch(_catalogue)
    with closing(CropDigest()) as digest:
        for done, file in enumerate(files):
            progress(done, len(files))
            of_file = list(_file_problems(root, file))
            problems += of_file
            if not of_file and file.path in visible:
                problems += _add_rows(digest, root, visible[file.path])
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


def _catalogue(session: Session) -> tuple[list[str], int, Sequence[DataFileRow], dict[str, VisibleFile], set[str]]:
    """Return the contradictions in the catalogue, its number of runs, its current and visible files, and all paths."""
    problems = list(_unbalanced_runs(session))
    for query, message in _contradictions():
        problems += [message.format(*row) for row in session.execute(query)]
    runs = len(session.scalars(select(RunRow.id)).all())
    files = session.scalars(select(DataFileRow).where(DataFileRow.retired.is_(None)).order_by(DataFileRow.id)).all()
    visible = {file.path: file for file in crop_files(session)}
    return problems, runs, files, visible, set(session.scalars(select(DataFileRow.path)))


def _file_problems(root: DataRoot, file: DataFileRow) -> Iterator[str]:
    size = root.folder.size(file.path)
    if size is None:
        yield f"file {file.path} is missing"
        return
    with BufferedReader(root.folder.open(file.path), READ_BYTES) as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    if (size, checksum) != (file.bytes, file.checksum):
        yield f"file {file.path} has other bytes than were written"
        return
    try:
        with closing(root.open(file.path)) as parquet:
            rows, schema = parquet.metadata.num_rows, parquet.schema_arrow
    except (StoreError, pa.ArrowException) as error:
        yield f"file {file.path}: {error}"
        return
    if rows != file.rows:
        yield f"file {file.path} has {rows} rows, the catalogue lists {file.rows}"
    newest = SCHEMA_VERSIONS.get(file.kind, 0)
    if file.schema_version > newest:
        yield f"file {file.path} has schema version {file.schema_version}, this Vestigo reads up to {newest}"
    elif problem := schema_problem(file.kind, schema, file.schema_version):
        yield f"file {file.path}: {problem}"


def _add_rows(digest: CropDigest, root: DataRoot, file: VisibleFile) -> Iterator[str]:
    # The digest covers the stored times, without clock offsets.
    not_finite = 0
    for batch in CropReader(root, [file], {}).scan(CROP_COLUMNS, GROUP_ROWS):
        digest.add(batch, file.model)
        not_finite += count_not_finite(batch)
    if not_finite:
        yield (
            f"file {file.path} has {not_finite} rows with numbers that are not finite, of model {file.model}: index "
            "their sources again with another model"
        )


def _unbalanced_runs(session: Session) -> Iterator[str]:
    for run in session.scalars(select(RunRow).order_by(RunRow.created)):
        totals = run_totals(session, run.id)
        settled = totals.done + totals.empty + totals.quarantined + totals.passed_over
        if not totals.inputs == settled + totals.pending == run.planned_inputs:
            yield (
                f"run {run.id} planned {run.planned_inputs} inputs, holds {totals.inputs}: {totals.done} done, "
                f"{totals.empty} empty, {totals.quarantined} quarantined, {totals.passed_over} passed over, "
                f"{totals.pending} pending"
            )
        if run.status == "succeeded" and totals.pending:
            yield f"run {run.id} succeeded with {totals.pending} inputs pending"


def _contradictions() -> Iterator[tuple[Select[*tuple[Any, ...]], str]]:
    """Yield queries of contradictions between shards, inputs and files, with the message for each row."""
    wrong = [(ShardRow.state == shard) & InputRow.state.not_in(states) for shard, states in ALLOWED.items()]
    pairs = select(ShardRow.id, ShardRow.state, InputRow.state).join(InputRow, InputRow.shard_id == ShardRow.id)
    contradictory = or_(*wrong, ShardRow.state.not_in(ALLOWED))
    yield pairs.where(contradictory).distinct(), "shard {} is {} and has an input that is {}"

    contradictory = (
        ((InputRow.state == "done") & (InputRow.rows <= 0))
        | ((InputRow.state != "done") & (InputRow.rows != 0))
        | ((InputRow.state == "quarantined") & InputRow.reason.is_(None))
    )
    inputs = select(InputRow.name, InputRow.shard_id, InputRow.state, InputRow.rows).where(contradictory)
    yield inputs, "input {} of shard {} is {} with {} rows, or without a reason"

    counted = select(InputRow.shard_id, func.sum(InputRow.rows).label("rows")).group_by(InputRow.shard_id).subquery()
    for kind, output in OUTPUT.items():
        files = select(DataFileRow.shard_id, func.sum(DataFileRow.rows).label("rows")).where(DataFileRow.kind == output)
        written = files.group_by(DataFileRow.shard_id).subquery()
        rows = func.coalesce(written.c.rows, 0)
        counts = (
            select(ShardRow.id, counted.c.rows, rows)
            .join(counted, counted.c.shard_id == ShardRow.id)
            .outerjoin(written, written.c.shard_id == ShardRow.id)
            .where(ShardRow.kind == kind, ShardRow.state == "done", counted.c.rows != rows)
        )
        yield counts, f"shard {{}} has {{}} rows of its inputs and {{}} in its files of {output}"

    # The old files of a video that is processed again stay visible until it is assembled.
    repeated = (ShardRow.kind == "assembly") & (ShardRow.state == "pending")
    paths = select(DataFileRow.path, ShardRow.state).join(ShardRow, ShardRow.id == DataFileRow.shard_id)
    unfinished = paths.where(DataFileRow.retired.is_(None), ShardRow.state != "done", ~repeated)
    yield unfinished, "file {} belongs to a shard that is {}"


class CropDigest:
    """Collects rows in any order, in a temporary file, so that memory does not grow with the store."""

    def __init__(self) -> None:
        # A private database on disk that SQLite deletes when it is closed.
        self._spill = sqlite3.connect("")
        self._spill.execute("CREATE TABLE crop (id TEXT, model TEXT, digest BLOB)")

    def add(self, batch: pa.RecordBatch, model: str) -> None:
        """Add rows that have all columns of a crop."""
        ids = batch.column("crop_id").to_pylist()
        rows = ((id_, model, digest) for id_, digest in zip(ids, row_digests(batch), strict=True))
        self._spill.executemany("INSERT INTO crop VALUES (?, ?, ?)", rows)

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._spill.execute("SELECT count(*) FROM crop").fetchone()[0])

    def duplicates(self, limit: int) -> list[tuple[str, str]]:
        """Return crop id and model of at most `limit` rows that were added more than once."""
        query = "SELECT id, model FROM crop GROUP BY id, model HAVING count(*) > 1 ORDER BY id LIMIT ?"
        return list(self._spill.execute(query, (limit,)))

    def hexdigest(self) -> str:
        """Return the SHA-256 over the digests of the rows in order of crop id."""
        total = hashlib.sha256()
        for (digest,) in self._spill.execute("SELECT digest FROM crop ORDER BY id, digest"):
            total.update(digest)
        return total.hexdigest()

    def close(self) -> None:
        """Remove the temporary file."""
        self._spill.close()


def row_digests(batch: pa.RecordBatch) -> Iterator[bytes]:
    """Yield the SHA-256 of every row over its columns, each as presence, length if it varies, and bytes."""
    columns = [_encoded(batch.column(name)) for name in DIGESTED]
    return (hashlib.sha256(b"".join(row)).digest() for row in zip(*columns, strict=True))


def _encoded(column: pa.Array) -> list[bytes]:
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        numbers = column.flatten().to_numpy(zero_copy_only=False).astype("<f4", copy=False)
        ends = np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False))[:-1]
        return _prefixed([part.tobytes() for part in np.split(numbers, ends)])
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        return _prefixed(column.cast(pa.binary()).to_pylist())
    present = column.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8)
    numbers = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    values: Any = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return _rows(np.hstack([present[:, None], little.view(np.uint8).reshape(len(column), -1)]))


def _prefixed(values: list[bytes]) -> list[bytes]:
    return [len(value).to_bytes(8, "little") + value for value in values]


def _rows(table: Any) -> list[bytes]:
    raw = np.ascontiguousarray(table).tobytes()
    width = len(raw) // max(1, len(table))
    return [raw[start : start + width] for start in range(0, len(raw), width)] if width else [b""] * len(table)
