"""Check of a store: every file, row and count against the catalogue."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BufferedReader

import pyarrow as pa
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from vestigo.store.crops.digest import CropDigest
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
    with database.read() as session:
        ledger = _unbalanced_runs, _contradictory_states, _different_row_counts, _files_of_unfinished_shards
        problems = [problem for check_ledger in ledger for problem in check_ledger(session)]
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


def _contradictory_states(session: Session) -> Iterator[str]:
    pairs = select(ShardRow.id, ShardRow.state, InputRow.state).join(InputRow, InputRow.shard_id == ShardRow.id)
    wrong = [(ShardRow.state == shard) & InputRow.state.not_in(states) for shard, states in ALLOWED.items()]
    contradictory = or_(*wrong, ShardRow.state.not_in(ALLOWED))
    for shard, state, input_state in session.execute(pairs.where(contradictory).distinct()):
        yield f"shard {shard} is {state} and has an input that is {input_state}"
    contradictory_input = (
        ((InputRow.state == "done") & (InputRow.rows <= 0))
        | ((InputRow.state != "done") & (InputRow.rows != 0))
        | ((InputRow.state == "quarantined") & InputRow.reason.is_(None))
    )
    for shard, name, state, rows in session.execute(
        select(InputRow.shard_id, InputRow.name, InputRow.state, InputRow.rows).where(contradictory_input)
    ):
        yield f"input {name} of shard {shard} is {state} with {rows} rows, or without a reason"


def _different_row_counts(session: Session) -> Iterator[str]:
    counted = select(InputRow.shard_id, func.sum(InputRow.rows).label("rows")).group_by(InputRow.shard_id).subquery()
    for kind, output in OUTPUT.items():
        written = (
            select(DataFileRow.shard_id, func.sum(DataFileRow.rows).label("rows"))
            .where(DataFileRow.kind == output)
            .group_by(DataFileRow.shard_id)
            .subquery()
        )
        query = (
            select(ShardRow.id, counted.c.rows, func.coalesce(written.c.rows, 0))
            .join(counted, counted.c.shard_id == ShardRow.id)
            .outerjoin(written, written.c.shard_id == ShardRow.id)
            .where(ShardRow.kind == kind, ShardRow.state == "done")
            .where(counted.c.rows != func.coalesce(written.c.rows, 0))
        )
        for shard, inputs, files in session.execute(query):
            yield f"shard {shard} has {inputs} rows of its inputs and {files} in its files of {output}"


def _files_of_unfinished_shards(session: Session) -> Iterator[str]:
    # The old files of a video that is processed again stay visible until it is assembled.
    repeated = (ShardRow.kind == "assembly") & (ShardRow.state == "pending")
    query = (
        select(DataFileRow.path, ShardRow.state)
        .join(ShardRow, ShardRow.id == DataFileRow.shard_id)
        .where(DataFileRow.retired.is_(None), ShardRow.state != "done", ~repeated)
    )
    for path, state in session.execute(query):
        yield f"file {path} belongs to a shard that is {state}"
