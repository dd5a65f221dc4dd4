"""Columns of the Parquet files by kind, and checks of schemas and rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_CROP_FIELDS = (
    ("crop_id", pa.string()),  # 20 hex digits: a digest of source content, frame and box
    ("source", pa.string()),
    ("input", pa.string()),  # name inside the source
    ("frame", pa.int64()),  # -1 for still images
    ("time", pa.timestamp("us", tz="UTC")),  # as the camera recorded it; null where unknown
    ("offset_s", pa.float64()),  # seconds from the start of the video; null for still images
    ("camera", pa.string()),
    ("tracklet", pa.string()),  # empty for still images
    ("x", pa.float32()),  # box in the frame, in pixels
    ("y", pa.float32()),
    ("w", pa.float32()),
    ("h", pa.float32()),
    ("frame_width", pa.int32()),
    ("frame_height", pa.int32()),
    ("score", pa.float32()),
    ("quality", pa.float32()),
    ("dhash", pa.int64()),
    ("pid", pa.int32()),  # the dataset's label; null where there is none
    ("image", pa.binary()),  # JPEG
)
SINCE_2 = pa.schema(
    [
        ("visible", pa.int32()),  # a bit for each visible part, the first part lowest; 0 without parts
        # Lists whose length depends on the model (0 without), so that all models share one schema.
        ("attributes", pa.list_(pa.float32())),  # calibrated probability of each value, attribute after attribute
        ("regions", pa.list_(pa.float32())),  # share of the crop of each region, background first
    ]
)
EMBEDDING = "embedding"  # the descriptor: blocks of length 1, or 0 for an invisible part
CROP_COLUMNS = (*(name for name, _ in _CROP_FIELDS), *SINCE_2.names, EMBEDDING)
NULLABLE = frozenset({"time", "offset_s", "pid"})
_EMBEDDED = frozenset({"crops", "candidates"})

REGIONS = pa.schema(
    [
        ("crop_id", pa.string()),
        ("labels", pa.binary()),  # PNG of one channel, as large as the image of the crop
        ("areas", pa.list_(pa.float32())),  # share of the cells of each region, background first
        ("belongings", pa.bool_()),  # whether a cell shows a carried object
    ]
)
TRUTH = pa.schema([("pid", pa.int32()), ("camera", pa.string())])  # of the crop; null if unknown
RANKING = pa.schema(
    [("query", pa.string()), ("rank", pa.int32()), ("crop", pa.string()), ("distance", pa.float32()), *TRUTH]
)
QUERIES = pa.schema(
    [
        ("query", pa.string()),
        *TRUTH,  # null if unknown or if the crops of the query differ
        ("rows", pa.int32()),  # in the ranking
        ("crop", pa.string()),  # a stored crop of the query; null for an image outside the store
        ("own", pa.int32()),  # crops of the gallery that the query is made of
        # Crops of the identity in the gallery, without the own ones.
        ("matches", pa.list_(pa.struct([("camera", pa.string()), ("crops", pa.int32())]))),
        ("image", pa.binary()),  # JPEG of an image outside the store, else null
    ]
)
DRAW = pa.schema([("task", pa.string()), ("probability", pa.float64())])  # every task of the population
LABELS = pa.schema(
    [
        ("project", pa.string()),
        ("task", pa.string()),
        ("source", pa.string()),
        ("tracklet", pa.string()),
        ("camera", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("pid", pa.int32()),
        ("crops", pa.list_(pa.string())),
        ("attribute", pa.string()),
        ("value", pa.string()),  # or "cannot tell"
        ("predicted", pa.string()),
        ("confidence", pa.float32()),  # of the prediction
        ("model", pa.string()),  # digest of the model of the prediction
        ("reviewers", pa.list_(pa.string())),
        ("answered", pa.timestamp("us", tz="UTC")),
    ]
)


class FileSchema(NamedTuple):
    """Columns of a kind of file; version 1 lacks the `later` ones, and only an `exact` kind has no others."""

    columns: pa.Schema
    later: pa.Schema = pa.schema([])
    exact: bool = True


FILE_SCHEMAS = {
    "crops": FileSchema(pa.schema(_CROP_FIELDS), SINCE_2),
    "candidates": FileSchema(pa.schema(_CROP_FIELDS), SINCE_2, exact=False),
    "frames": FileSchema(pa.schema([]), exact=False),
    "detections": FileSchema(pa.schema([]), exact=False),
    "tracklets": FileSchema(pa.schema([("tracklet", pa.string())]), exact=False),
    "ranking": FileSchema(RANKING, TRUTH),
    "queries": FileSchema(QUERIES),
    "regions": FileSchema(REGIONS),
    "draw": FileSchema(DRAW),
    "labels": FileSchema(LABELS),
}
SCHEMA_VERSIONS = {kind: 2 if schema.later else 1 for kind, schema in FILE_SCHEMAS.items()}
"""Version of each kind that is written."""
_DEFAULTS = {"visible": 0, "attributes": [], "regions": []}


def crop_schema(dim: int) -> pa.Schema:
    """Return the schema of a crops file whose embeddings have `dim` dimensions."""
    return pa.schema([*_CROP_FIELDS, *SINCE_2, (EMBEDDING, pa.list_(pa.float32(), dim))])


def completed(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Return `columns` of crops; columns that files of version 1 lack are filled with 0 or empty lists."""
    arrays = [
        pa.array([_DEFAULTS[name]] * batch.num_rows, SINCE_2.field(name).type)
        if name in _DEFAULTS and name not in batch.schema.names
        else batch.column(name)
        for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def schema_problem(kind: str, schema: pa.Schema, version: int | None = None) -> str | None:
    """Return how `schema` differs from a `version` of a kind of file, by default the written one; None if equal."""
    if kind not in FILE_SCHEMAS:
        return f"{kind} is not one of {', '.join(FILE_SCHEMAS)}"
    columns, later_columns, exact = FILE_SCHEMAS[kind]
    required, later, actual = (
        {field.name: field.type for field in fields} for fields in (columns, later_columns, schema)
    )
    if version == 1 and actual.keys().isdisjoint(later):
        required = {name: type_ for name, type_ in required.items() if name not in later}
    else:
        required |= later
    if kind in _EMBEDDED and not _is_embedding(actual.pop(EMBEDDING, None)):
        return f"column {EMBEDDING} is not a fixed-size list of float32"
    for name, type_ in required.items():
        if actual.get(name) != type_:
            return f"column {name} is {actual.get(name, 'missing')}, not {type_}"
    if exact and (extra := actual.keys() - required.keys()):
        return f"column {min(extra)} does not belong to {kind}"
    return None


def rows_problem(kind: str, batch: pa.RecordBatch) -> str | None:
    """Return which column of crops has forbidden nulls or lists of several lengths, None if no column has."""
    if kind not in _EMBEDDED:
        return None
    for name in [name for name in CROP_COLUMNS if name not in NULLABLE]:
        if nulls := batch.column(name).null_count:
            return f"column {name} is null in {nulls} rows"
    for name in ("attributes", "regions"):
        column = batch.column(name)
        if len(lengths := pc.unique(pc.list_value_length(column))) > 1:
            return f"column {name} has lists of {len(lengths)} lengths"
        if column.flatten().null_count:
            return f"column {name} has nulls in its lists"
    count = count_not_finite(batch)
    return f"{count} rows have numbers that are not finite (NaN or infinity)" if count else None


def count_not_finite(batch: pa.RecordBatch) -> int:
    """Count the rows of crops of which a computed number is NaN or infinite."""
    failed = np.zeros(batch.num_rows, dtype=bool)
    for name in ("attributes", "regions", EMBEDDING):
        values = batch.column(name).flatten().to_numpy(zero_copy_only=False)
        failed |= ~np.isfinite(values.reshape(batch.num_rows, -1)).all(axis=1) if values.size else False
    return int(failed.sum())


def _is_embedding(type_: pa.DataType | None) -> bool:
    return type_ is not None and pa.types.is_fixed_size_list(type_) and type_.value_type == pa.float32()
