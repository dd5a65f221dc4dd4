"""Digest of crops that does not depend on how rows are spread over files, databases and runs."""

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vestigo.store.parquet.schemas import CROP_COLUMNS

# The source is a path, which depends on the place of the archive.
DIGESTED = tuple(name for name in CROP_COLUMNS if name != "source")


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
