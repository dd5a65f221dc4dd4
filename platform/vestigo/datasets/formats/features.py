"""Features of other programs: a Parquet file with `pid`, `camid`, `split`, `embedding` and optionally `image`.

`split` is `query` or `gallery`, `embedding` a list of float, all of one length. Rows with equal `image` (text) are the
same image: a query is never compared with itself under the protocols that look into its own camera. A row without a
name there, null or empty, is an image of its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vestigo_models.errors import DatasetError, first_line

_KINDS = {
    "pid": ("a whole number", pa.types.is_integer),
    "camid": ("a whole number", pa.types.is_integer),
    "split": ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_dictionary(t)),
    "embedding": ("a list of float", lambda t: _is_list(t) and pa.types.is_floating(t.value_type)),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """N features with their identities."""

    embeddings: NDArray[np.floating]  # (N, D) float64 or float32
    pids: NDArray[np.int64]  # (N,) int64
    camids: NDArray[np.int64]  # (N,) int64
    ids: NDArray[np.int64] | None  # (N,) int64, equal for equal images; None if the file names no images


def read_features(path: Path) -> tuple[FeatureSet, FeatureSet]:
    """Read the query and the gallery rows.

    Raises:
        DatasetError: If the file is wrong; one line names all mistakes.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{path}: not a Parquet file ({first_line(error)})") from None
    _check_columns(table, path)
    embeddings = _matrix(table.column("embedding").combine_chunks(), path)
    splits = np.asarray(table.column("split").to_pylist(), dtype=object)
    unknown = set(splits.tolist()) - {"query", "gallery"}
    if unknown:
        raise DatasetError(f"{path}: split holds {min(unknown)!r}; it is query or gallery")
    if "query" not in splits:
        raise DatasetError(f"{path}: no row has split query, so there is nothing to score")
    ids: NDArray[np.int64] | None = None
    if "image" in table.column_names:
        ids = _image_ids(table.column("image").to_pylist())
    pids, camids = (table.column(name).to_numpy().astype(np.int64) for name in ("pid", "camid"))

    def part(name: str) -> FeatureSet:
        rows = splits == name
        return FeatureSet(
            embeddings=embeddings[rows], pids=pids[rows], camids=camids[rows], ids=None if ids is None else ids[rows]
        )

    return part("query"), part("gallery")


def _image_ids(names: list[Any]) -> NDArray[np.int64]:
    """Return (N,) numbers that are equal for equal names; a name that is missing (None, NaN, "") equals no other."""
    first: dict[Any, int] = {}
    is_missing = [name is None or name != name or name == "" for name in names]
    rows = range(len(names))
    return np.array([row if is_missing[row] else first.setdefault(names[row], row) for row in rows], dtype=np.int64)


def _check_columns(table: pa.Table, path: Path) -> None:
    mistakes = []
    for name, (kind, fits) in _KINDS.items():
        if name not in table.column_names:
            mistakes.append(f"column {name!r} ({kind}) is missing")
        elif not fits(table.schema.field(name).type):
            mistakes.append(f"column {name!r} must be {kind}, not {table.schema.field(name).type}")
        elif table.column(name).null_count:
            mistakes.append(f"column {name!r} has {table.column(name).null_count} rows without a value")
    if mistakes:
        raise DatasetError(f"{path}: {'; '.join(mistakes)}")


def _matrix(column: pa.Array, path: Path) -> NDArray[np.floating]:
    lengths = np.unique(np.asarray(column.value_lengths(), dtype=np.int64))
    if len(lengths) > 1:
        raise DatasetError(f"{path}: embeddings have different lengths, from {lengths[0]} to {lengths[-1]}")
    flat = column.flatten()
    values = np.asarray(flat.to_numpy(zero_copy_only=False))
    if flat.null_count or not np.isfinite(values).all():
        raise DatasetError(f"{path}: some embeddings hold values that are no finite numbers")
    return values.reshape(len(column), int(lengths[0]) if len(lengths) else 0)


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))
