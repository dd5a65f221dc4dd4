"""Files under a data root, local or S3: created whole or not at all, listed, deleted."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs

from vestigo.store.faults import fault_point
from vestigo.store.location import without_credentials
from vestigo_models.errors import StoreError

PARTIAL = ".partial"


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
