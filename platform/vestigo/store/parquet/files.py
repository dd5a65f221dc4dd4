"""The Parquet side of the store: needs no database, so an actor on another machine can write and read its files."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from vestigo.store.faults import fault_point
from vestigo.store.location import without_credentials
from vestigo.store.parquet.schemas import EMBEDDING, SCHEMA_VERSIONS, rows_problem, schema_problem
from vestigo_models.errors import StoreError

PARTIAL = ".partial"
FileKind = Literal["crops", "candidates", "detections", "tracklets", "ranking", "queries", "regions", "draw", "labels"]


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file that lies under the data root (`path` is relative to it) and that nobody refers to yet.

    `checksum` is the SHA-256 of its bytes, in hex; `cameras` and times (as recorded) summarise its rows.
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
    """A file under the root; `path` is relative to it, `bytes` its size."""

    path: str
    bytes: int
    modified: datetime | None


class Folder:
    """A local folder or an `s3://bucket/prefix` (pyarrow's URI options, such as `endpoint_override`, in the query)."""

    def __init__(self, uri: str) -> None:
        self._local = None if "://" in uri else Path(uri)
        try:
            self._fs, base = (fs.LocalFileSystem(), uri) if self._local else fs.FileSystem.from_uri(uri)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"data {without_credentials(uri)} cannot be opened: {error}") from error
        self._base = base.rstrip("/")

    def make(self) -> None:
        """Make a local root, for its owner only (what people look like is nobody else's business); find a bucket.

        Raises StoreError where there is no such bucket, or it does not answer.
        """
        if self._local is not None:
            self._local.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        bucket = self._base.partition("/")[0]
        try:
            found = self._fs.get_file_info(bucket).type != fs.FileType.NotFound
        except OSError as error:
            raise StoreError(f"data s3://{bucket} does not answer: {error}") from error
        if not found:
            raise StoreError(f"data s3://{bucket} does not exist: make the bucket first")

    def is_empty(self) -> bool:
        """Whether nothing at all lies below the root."""
        return next(self.walk(), None) is None

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        """Write a new file; it appears under its name, whole and durable, when the block ends without an error."""
        if self._local is None:
            with self._fs.open_output_stream(self._full(path)) as stream:
                yield stream
            return
        target = self._local / path
        partial = target.with_name(target.name + PARTIAL)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as stream:
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
        """Open a file for reading at any place (a pyarrow NativeFile)."""
        return self._fs.open_input_file(self._full(path))

    def size(self, path: str) -> int | None:
        """Return the size in bytes, None where there is no such file."""
        info = self._fs.get_file_info(self._full(path))
        return int(info.size) if info.type == fs.FileType.File else None

    def walk(self) -> Iterator[FileInfo]:
        """List every file below the root, in order of its path."""
        selector = fs.FileSelector(self._base, recursive=True, allow_not_found=True)
        for info in sorted(self._fs.get_file_info(selector), key=lambda info: info.path):
            if info.type == fs.FileType.File:
                yield FileInfo(os.path.relpath(info.path, self._base), int(info.size), info.mtime)

    def delete(self, path: str) -> None:
        """Delete a file; one that is gone already is fine."""
        if self.size(path) is not None:
            self._fs.delete_file(self._full(path))

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}"


class Tally(io.RawIOBase):
    """Passes bytes on to `sink` while it counts and digests them."""

    def __init__(self, sink: BinaryIO, digest: Any) -> None:
        self._sink = sink
        self._digest = digest
        self.count = 0

    def writable(self) -> bool:
        """Bytes can be written."""
        return True

    def write(self, data: Any) -> int:
        """Write all of `data` and return its length in bytes."""
        view = memoryview(data)
        self._digest.update(view)
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
"""Rows of one row group: about 3 MB of images, so that a reader of few crops reads little else."""
_GROUPS = {"ranking": 10_000}
"""Rows of one row group of narrow files: less would be said of each group than stands in it."""
# Neither JPEG bytes nor unit vectors become smaller, and no two are the same.
_INCOMPRESSIBLE = frozenset({"image", f"{EMBEDDING}.list.element"})


class DataRoot:
    """Writes and reads immutable Parquet files below a data root: a local path or an `s3://` URI."""

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
        """Write a file that nobody refers to yet; it counts once `Store.commit` was given what this returns.

        A table is sorted by `crop_id` where it has one. Batches are written in the order in which they come, in
        bounded memory; `schema` is needed only where there may be none.

        Raises StoreError for columns that are not those of `kind`, OSError where the disk is full or lost.
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
        digest, summary = hashlib.sha256(), _Summary()
        fault_point("write.before")
        with self.folder.create(path) as sink:
            tally = Tally(sink, digest)
            compression = _compression(schema)
            repeated = [leaf for leaf in compression if leaf not in _INCOMPRESSIBLE]
            with pq.ParquetWriter(tally, schema, compression=compression, use_dictionary=repeated) as writer:
                for batch in rechunk(batches, _GROUPS.get(kind, GROUP_ROWS)):
                    if problem := rows_problem(kind, batch):
                        raise StoreError(f"rows do not fit a file of {kind}: {problem}")
                    summary.add(batch)
                    writer.write_batch(batch)
            fault_point("write.before-close")
        fault_point("write.after")
        return WrittenFile(
            kind=kind,
            path=path,
            rows=summary.rows,
            bytes=tally.count,
            checksum=digest.hexdigest(),
            schema_version=SCHEMA_VERSIONS[kind],
            cameras=tuple(sorted(summary.cameras)),
            first_time=summary.first,
            last_time=summary.last,
        )

    def require_written(self, file: WrittenFile) -> None:
        """Check that a written file exists with its size.

        Raises:
            StoreError: If it does not.
        """
        size = self.folder.size(file.path)
        if size != file.bytes:
            raise StoreError(f"file {file.path} has {size} bytes, {file.bytes} were written: do its shard again")

    def read(
        self, path: str, columns: Sequence[str] | None = None, batch_rows: int = GROUP_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file in order, at most `batch_rows` at a time; all columns by default."""
        with closing(self.open(path)) as file:
            # Most of the work is decoding one column, the descriptor: threads over columns only wait for one another.
            yield from file.iter_batches(
                batch_size=batch_rows, columns=None if columns is None else list(columns), use_threads=False
            )

    def open(self, path: str) -> pq.ParquetFile:
        """Open a Parquet file; the caller closes it. Raises StoreError where it is missing or broken."""
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
    """Yield the same rows in the same order in batches of exactly `rows`, the last one shorter."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        start = 0
        while (room := rows - count) <= batch.num_rows - start:
            yield pa.concat_batches([*held, batch.slice(start, room)])
            held, count, start = [], 0, start + room
        if start < batch.num_rows:
            held.append(batch.slice(start))
            count += batch.num_rows - start
    if held:
        yield pa.concat_batches(held)


class _Summary:
    """What the catalogue keeps of a file's rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.cameras: set[str] = set()
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        if "camera" in batch.schema.names:
            self.cameras.update(pc.unique(batch.column("camera")).drop_null().to_pylist())
        if "time" in batch.schema.names:
            times = batch.column("time").drop_null()
            if len(times):
                low, high = (value.as_py() for value in pc.min_max(times).values())
                self.first = low if self.first is None else min(self.first, low)
                self.last = high if self.last is None else max(self.last, high)


def _compression(schema: pa.Schema) -> dict[str, str]:
    leaves = (f"{field.name}.list.element" if _is_list(field.type) else field.name for field in schema)
    return {leaf: "none" if leaf in _INCOMPRESSIBLE else "zstd" for leaf in leaves}


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_))
