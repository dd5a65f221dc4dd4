"""The columns of the Parquet files, and the check that a file holds to them."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

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
EMBEDDING = "embedding"
CROP_COLUMNS = (*(name for name, _ in _CROP_FIELDS), EMBEDDING)
NULLABLE = frozenset({"time", "offset_s", "pid"})
_EMBEDDED = frozenset({"crops", "candidates"})

RANKING = pa.schema([("query", pa.string()), ("rank", pa.int32()), ("crop", pa.string()), ("distance", pa.float32())])
_REQUIRED = {
    "crops": pa.schema(_CROP_FIELDS),
    "candidates": pa.schema(_CROP_FIELDS),
    "detections": pa.schema([]),
    "tracklets": pa.schema([("tracklet", pa.string())]),
    "ranking": RANKING,
}
_EXACT = frozenset({"crops", "ranking"})
KINDS = tuple(_REQUIRED)


def crop_schema(dim: int) -> pa.Schema:
    """Return the schema of a crops file whose embeddings have `dim` dimensions."""
    return pa.schema([*_CROP_FIELDS, (EMBEDDING, pa.list_(pa.float32(), dim))])


def schema_problem(kind: str, schema: pa.Schema) -> str | None:
    """Say in what `schema` is not that of a file of `kind`, None where it is."""
    if kind not in _REQUIRED:
        return f"{kind} is not one of {', '.join(KINDS)}"
    wanted = {field.name: field.type for field in _REQUIRED[kind]}
    found = {field.name: field.type for field in schema}
    if kind in _EMBEDDED and not _is_embedding(found.pop(EMBEDDING, None)):
        return f"column {EMBEDDING} is not a fixed-size list of float32"
    for name, type_ in wanted.items():
        if found.get(name) != type_:
            return f"column {name} is {found.get(name, 'missing')}, not {type_}"
    if kind in _EXACT and (extra := found.keys() - wanted.keys()):
        return f"column {min(extra)} does not belong to {kind}"
    return None


def null_problem(kind: str, batch: pa.RecordBatch) -> str | None:
    """Say which column of a crop is null and may not be, None where none is."""
    for name in CROP_COLUMNS if kind in _EMBEDDED else ():
        if name not in NULLABLE and batch.column(name).null_count:
            return f"column {name} is null in {batch.column(name).null_count} rows"
    return None


def _is_embedding(type_: pa.DataType | None) -> bool:
    return type_ is not None and pa.types.is_fixed_size_list(type_) and type_.value_type == pa.float32()
