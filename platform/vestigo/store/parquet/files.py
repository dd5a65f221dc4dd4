"""Parquet files of a store: a data root writes and reads them without a database, also on another machine."""

import hashlib
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from vestigo.store.faults import fault_point
from vestigo.store.location import without_secrets
from vestigo.store.parquet.schemas import EMBEDDING, SCHEMA_VERSIONS, rows_problem, schema_problem
from vestigo.store.patience import PATIENCE_S, repeat
from vestigo.store.runs.records import Owner
from vestigo_models.errors import StoreError, StoreUnavailable, first_line

R = TypeVar("R")
_S3_OUTAGE = re.compile(
    r"NETWORK_CONNECTION|REQUEST_TIMEOUT|SLOW_DOWN|SERVICE_UNAVAILABLE|THROTTLING|INTERNAL_FAILURE|HTTP status 5\d\d"
)
_COPY_BYTES = 1 << 22
PARTIAL = ".partial"
PENDING = "pending"
"""Folder of the markers of `DataRoot.pending`."""
FileKind = Literal[
    "crops", "candidates", "frames", "detections", "tracklets", "ranking", "queries", "regions", "draw", "labels"
]


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file that the catalogue does not list yet.

    `path` is relative to the data root, `bytes` the size, `checksum` the SHA-256 in hex. `cameras` and the recorded
    times are those of its rows.
    """

    kind: FileKind
    path: str
    rows: int
    bytes: int
    checksum: str
    schema_version: int
    cameras: tuple[str, ...] = ()
    first_time: datetime | None = None
    last_time: datetime | None = None


@dataclass(frozen=True)
class FileInfo:
    """A file; `path` is relative to the folder, `bytes` its size."""

    path: str
    bytes: int
    modified: datetime | None


class Folder:
    """A local folder or `s3://bucket/prefix`, with pyarrow's options such as `endpoint_override` in the query.

    Attributes:
        name: Path or URI, without credentials.
        patience: Seconds for which a request is repeated that S3 does not answer.
    """

    def __init__(self, uri: str) -> None:
        self._local = None if "://" in uri else Path(uri)
        self.name = without_secrets(uri)
        self.patience = PATIENCE_S
        try:
            self._fs, base = (fs.LocalFileSystem(), uri) if self._local else fs.FileSystem.from_uri(uri)
        except (pa.ArrowException, OSError) as error:
            # pyarrow quotes the URI, which may hold a key.
            reason = "write special characters of a key as %XX, / as %2F" if "@" in uri else error
            raise StoreError(f"data {self.name} cannot be opened: {reason}") from None
        self._base = base.rstrip("/")

    def make(self) -> None:
        """Create a local folder that only its owner can read, or check that the bucket exists.

        Raises:
            StoreError: If the bucket does not exist or does not answer.
        """
        if self._local is not None:
            self._local.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        bucket = self._base.partition("/")[0]
        try:
            exists = self.repeat(lambda: self._fs.get_file_info(bucket)).type != fs.FileType.NotFound
        except OSError as error:
            raise StoreError(f"data s3://{bucket} does not answer: {first_line(error)}") from error
        if not exists:
            raise StoreError(f"data s3://{bucket} does not exist: make the bucket first")

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Open a new file for writing; it appears, complete and durable, when the block ends without an error."""
        if self._local is None:
            # Kept here until it is complete, so that it can be sent again.
            with tempfile.TemporaryFile() as content:
                yield content
                self.repeat(lambda: self._send(content, path))
            return
        target = self._local / path
        partial = target.with_name(target.name + PARTIAL)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        fault_point("folder.before-rename")
        partial.rename(target)
        for folder in target.parents[: len(Path(path).parents)]:
            _sync(folder)

    def open(self, path: str) -> Any:
        """Open a file for random access, as a pyarrow NativeFile."""
        return self.repeat(lambda: self._fs.open_input_file(self._full(path)))

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, None if it does not exist."""
        info = self.repeat(lambda: self._fs.get_file_info(self._full(path)))
        return int(info.size) if info.type == fs.FileType.File else None

    def walk(self) -> Iterator[FileInfo]:
        """Yield every file below the folder, by path."""
        selector = fs.FileSelector(self._base, recursive=True, allow_not_found=True)
        for info in sorted(self.repeat(lambda: self._fs.get_file_info(selector)), key=lambda info: info.path):
            if info.type == fs.FileType.File:
                yield FileInfo(os.path.relpath(info.path, self._base), int(info.size), info.mtime)

    def delete(self, path: str) -> None:
        """Delete a file if it exists."""
        if self.size(path) is not None:
            self.repeat(lambda: self._fs.delete_file(self._full(path)))

    def repeat(self, request: Callable[[], R]) -> R:
        """Call `request`, and again while S3 has a short outage; it must bear being carried out twice.

        Raises:
            StoreUnavailable: If S3 does not answer for a minute.
        """
        try:
            return repeat(request, self._short_outage, self.patience)
        except OSError as error:
            if description := self._short_outage(error):
                raise StoreUnavailable(f"{description}: check that S3 can be reached") from error
            raise

    def _short_outage(self, error: BaseException) -> str | None:
        if isinstance(error, StoreUnavailable):
            return self._short_outage(error.__cause__) if error.__cause__ else None
        is_short = self._local is None and isinstance(error, OSError) and _S3_OUTAGE.search(str(error))
        return f"data {self.name} does not answer ({first_line(error)})" if is_short else None

    def _send(self, content: BinaryIO, path: str) -> None:
        content.seek(0)
        with self._fs.open_output_stream(self._full(path)) as stream:
            shutil.copyfileobj(content, stream, _COPY_BYTES)

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}"


class _DigestWriter(io.RawIOBase):
    """Writes bytes to `sink`, counts them and computes their SHA-256."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.digest = hashlib.sha256()
        self.count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of `data` and return its number of bytes."""
        view = memoryview(data)
        self.digest.update(view)
        self._sink.write(view)
        self.count += view.nbytes
        return view.nbytes


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


GROUP_ROWS = 1000
"""Rows of a row group: about 3 MB of images, so that a reader of few crops reads little else."""
_GROUPS = {"ranking": 10_000}
"""Rows of a row group of files with narrow rows, whose metadata would otherwise be larger than the rows."""
# JPEG bytes and unit vectors do not compress and do not repeat.
_INCOMPRESSIBLE = frozenset({"image", f"{EMBEDDING}.list.element"})


class DataRoot:
    """Writes and reads immutable Parquet files below a data root: a local path or an `s3://` URI.

    Methods raise `StoreError` for a missing or broken file.
    """

    def __init__(self, uri: str) -> None:
        self.folder = Folder(uri)

    def write(
        self,
        kind: FileKind,
        run_id: str,
        shard_id: int,
        rows: pa.Table | Iterable[pa.RecordBatch],
        schema: pa.Schema | None = None,
    ) -> WrittenFile:
        """Write a file `run_id/kind/shard_id-*.parquet`; it becomes visible when it is committed.

        Args:
            kind: Kind of file.
            run_id: Run, or another first folder of the path.
            shard_id: Shard, or another number.
            rows: A table, sorted here by its `crop_id` if it has one, or batches, written with bounded memory.
            schema: Schema of `rows`; needed if there may be no batch.

        Raises:
            StoreError: If the columns are not those of `kind`.
            OSError: If the disk is full or fails.
        """
        if isinstance(rows, pa.Table):
            rows = rows.sort_by("crop_id") if "crop_id" in rows.column_names else rows
            schema, batches = rows.schema, iter(rows.to_batches())
        else:
            batches = iter(rows)
            if schema is None:
                first = next(batches, None)
                if first is None:
                    raise StoreError(f"a file of {kind} without rows needs a schema")
                schema, batches = first.schema, chain([first], batches)
        if problem := schema_problem(kind, schema):
            raise StoreError(f"rows do not fit a file of {kind}: {problem}")
        path = f"{run_id}/{kind}/{shard_id}-{secrets.token_hex(8)}.parquet"
        count, cameras, times = 0, set[str](), list[datetime]()
        fault_point("write.before")
        with self.folder.create(path) as sink:
            output = _DigestWriter(sink)
            compression = _compression(schema)
            repeated = [leaf for leaf in compression if leaf not in _INCOMPRESSIBLE]
            with pq.ParquetWriter(output, schema, compression=compression, use_dictionary=repeated) as writer:
                for batch in rechunk(batches, _GROUPS.get(kind, GROUP_ROWS)):
                    if problem := rows_problem(kind, batch):
                        raise StoreError(f"rows do not fit a file of {kind}: {problem}")
                    count += batch.num_rows
                    if "camera" in batch.schema.names:
                        cameras.update(pc.unique(batch.column("camera")).drop_null().to_pylist())
                    times += _time_range(batch)
                    writer.write_batch(batch)
            fault_point("write.before-close")
        fault_point("write.after")
        return WrittenFile(
            kind=kind,
            path=path,
            rows=count,
            bytes=output.count,
            checksum=output.digest.hexdigest(),
            schema_version=SCHEMA_VERSIONS[kind],
            cameras=tuple(sorted(cameras)),
            first_time=min(times, default=None),
            last_time=max(times, default=None),
        )

    @contextmanager
    def pending(self, folder: str) -> Iterator[None]:
        """Keep the files that this process writes below `folder` from `vacuum` until the block has committed them.

        A marker names this process; a marker of a process that has ended keeps nothing.
        """
        owner = Owner.current()
        marker = f"{folder}/{PENDING}/{quote(owner.host, safe='')}.{owner.pid}.{secrets.token_hex(8)}"
        with self.folder.create(marker):
            pass
        try:
            yield
        finally:
            # The marker of a process that goes on only delays the removal of what it left behind.
            with suppress(OSError):
                self.folder.delete(marker)

    def require_written(self, file: WrittenFile) -> None:
        """Raise `StoreError` if a written file does not exist with its size."""
        size = self.folder.size(file.path)
        if size != file.bytes:
            raise StoreError(f"file {file.path} has {size} bytes, {file.bytes} were written: do its shard again")

    def read(
        self, path: str, columns: Sequence[str] | None = None, batch_rows: int = GROUP_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file in order, at most `batch_rows` at a time; all columns by default."""

        def batches() -> Iterator[pa.RecordBatch]:
            with closing(self.open(path)) as file:
                # Decoding one column, the descriptor, dominates, so threads over columns do not help.
                yield from file.iter_batches(
                    batch_size=batch_rows, columns=None if columns is None else list(columns), use_threads=False
                )

        return self.resumed(batches)

    def resumed(self, read: Callable[[], Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
        """Yield what `read` yields; after a short outage it is called again, and what was yielded is skipped."""
        count = 0
        batches: Iterator[pa.RecordBatch] | None = None

        def advance() -> pa.RecordBatch | None:
            nonlocal batches
            if batches is None:
                batches = islice(read(), count, None)
            try:
                return next(batches, None)
            except (OSError, StoreUnavailable):
                batches = None
                raise

        while (batch := self.folder.repeat(advance)) is not None:
            count += 1
            yield batch

    def open(self, path: str) -> pq.ParquetFile:
        """Open a Parquet file; the caller closes it."""
        try:
            source = self.folder.open(path)
        except OSError as error:
            raise StoreError(f"file {path} of the store cannot be read: run `vestigo store check`") from error
        try:
            return pq.ParquetFile(source, pre_buffer=True)
        except pa.ArrowException as error:
            source.close()
            raise StoreError(f"file {path} of the store is broken: run `vestigo store check`") from error


def rechunk(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `batches` in batches of exactly `rows`; the last one may be shorter."""
    parts: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        start = 0
        while (room := rows - count) <= batch.num_rows - start:
            yield pa.concat_batches([*parts, batch.slice(start, room)])
            parts, count, start = [], 0, start + room
        if start < batch.num_rows:
            parts.append(batch.slice(start))
            count += batch.num_rows - start
    if parts:
        yield pa.concat_batches(parts)


def _time_range(batch: pa.RecordBatch) -> list[datetime]:
    """Return the earliest and latest time of a batch, [] without times."""
    times = batch.column("time").drop_null() if "time" in batch.schema.names else ()
    return [value.as_py() for value in pc.min_max(times).values()] if len(times) else []


def _compression(schema: pa.Schema) -> dict[str, str]:
    leaves = (f"{field.name}.list.element" if pa.types.is_nested(field.type) else field.name for field in schema)
    return {leaf: "none" if leaf in _INCOMPRESSIBLE else "zstd" for leaf in leaves}
