"""Features of other programs: a Parquet file with `pid`, `camid`, `split`, `embedding` and optionally `image`.

`split` is `query` or `gallery`, `embedding` a list of float, all of one length. Rows with equal `image` (text) are the
same image: a query is never compared with itself under the protocols that look into its own camera. A row without a
name there, null or empty, is an image of its own.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vestigo.evaluation.metrics.ranking import ImageSet
from vestigo.evaluation.ranking import EvaluationOptions, evaluation_distances, rank_and_score
from vestigo.evaluation.result import Evaluation
from vestigo_models.arrays import FloatArray, Int64Array
from vestigo_models.devices import memory_bytes
from vestigo_models.errors import BadInput, DatasetError, first_line
from vestigo_models.isolation import MEMORY_BYTES, SECONDS, SLOWEST_READING, call
from vestigo_models.progress import OpenProgress, ignore_stages

_KINDS = {
    "pid": ("a whole number", pa.types.is_integer),
    "camid": ("a whole number", pa.types.is_integer),
    "split": ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_dictionary(t)),
    "embedding": ("a list of float", lambda t: _is_list(t) and pa.types.is_floating(t.value_type)),
}


BYTES_PER_VALUE = 16
"""A value as it is read, and as it is compared."""
FeatureSet = tuple[FloatArray, ImageSet]
"""Features (N, D), float64 or float32, and their images."""


def read_features(path: Path) -> tuple[FeatureSet, FeatureSet]:
    """Read the query and the gallery rows in a child process: Arrow aborts on some damaged files.

    Raises:
        DatasetError: If the file is wrong; one line names all mistakes.
    """
    try:
        seconds, memory = SECONDS + path.stat().st_size / SLOWEST_READING, memory_bytes()
        return call(_read, path, memory, name=str(path), seconds=seconds, memory_bytes=MEMORY_BYTES + memory)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from None
    except BadInput as error:
        raise DatasetError(error.detail) from None


def evaluate_features(
    query: FeatureSet, gallery: FeatureSet, options: EvaluationOptions, progress: OpenProgress = ignore_stages
) -> Evaluation:
    """Evaluate the ranking that given features make."""
    distances = evaluation_distances(query[0], gallery[0], options)
    # There is no image to show.
    scores, nearest = rank_and_score(distances, query[1], gallery[1], options, progress=progress("ranking"), shown=0)
    return Evaluation(query=query[1], gallery=gallery[1], scores=scores, nearest=nearest)


def _read(path: Path, memory: int) -> tuple[FeatureSet, FeatureSet]:
    try:
        with pq.ParquetFile(path) as file:
            _check_size(file.metadata, path, memory)
            table = file.read([name for name in (*_KINDS, "image") if name in file.schema_arrow.names])
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
    ids = _image_ids(table.column("image").to_pylist()) if "image" in table.column_names else None
    pids, camids = (table.column(name).to_numpy().astype(np.int64) for name in ("pid", "camid"))
    images = ImageSet(pids=pids, camids=camids, ids=ids)
    query, gallery = (np.flatnonzero(splits == name) for name in ("query", "gallery"))
    return (embeddings[query], images[query]), (embeddings[gallery], images[gallery])


def _check_size(metadata: pq.FileMetaData, path: Path, memory: int) -> None:
    """Raise DatasetError if the values do not fit into memory; few bytes of a file can stand for many of them."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    values = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
    if (needed := BYTES_PER_VALUE * values) > memory:
        raise DatasetError(
            f"{path}: {metadata.num_rows:,} rows with {values:,} values need {needed / 2**30:.1f} GiB, and this "
            f"machine has {memory / 2**30:.1f}; score fewer rows, or shorter embeddings"
        )


def _image_ids(names: list[Any]) -> Int64Array:
    """Return (N,) numbers that are equal for equal names; a name that is missing (None, NaN, "") equals no other."""
    import pandas as pd

    codes, _ = pd.factorize(np.array([None if name == "" else name for name in names], dtype=object))
    return np.where(codes < 0, -1 - np.arange(len(codes)), codes).astype(np.int64)


def _check_columns(table: pa.Table, path: Path) -> None:
    repeated = [name for name in (*_KINDS, "image") if table.column_names.count(name) > 1]
    if repeated:
        raise DatasetError(f"{path}: there is more than one column {repeated[0]!r}; keep one")
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


def _matrix(column: pa.Array, path: Path) -> FloatArray:
    lengths = np.unique(np.asarray(column.value_lengths(), dtype=np.int64))
    if len(lengths) > 1:
        raise DatasetError(f"{path}: embeddings have different lengths, from {lengths[0]} to {lengths[-1]}")
    flat = column.flatten()
    values = np.asarray(flat.to_numpy(zero_copy_only=False))
    matrix = values.astype(np.result_type(values, np.float32), copy=False).reshape(
        len(column), int(lengths[0]) if len(lengths) else 0
    )
    if flat.null_count or not np.isfinite(values).all():
        raise DatasetError(f"{path}: some embeddings hold values that are no finite numbers")
    with np.errstate(over="ignore"):
        if not np.isfinite(np.einsum("nd,nd->n", matrix, matrix)).all():
            raise DatasetError(f"{path}: some embeddings are too long for {matrix.dtype}; scale them to length 1")
    return matrix


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))
