"""From crops in memory to rows of the crops table: embed in batches of fixed size, encode, arrange in columns."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vestigo.ingest.crops import MAX_CROP_HEIGHT, CropCandidate
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.store.parquet.schemas import EMBEDDING, SINCE_2, crop_schema
from vestigo_models.arrays import BoolArray
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import encode_jpeg, shrink

CropRow = dict[str, Any]
"""Columns of a crop row except those that a model computes.

`image` is RGB uint8 (height, width, 3); `encoded` is the crop's own JPEG bytes if the archive holds them, else None.
"""
CANDIDATE_COLUMNS = (
    "crop_id", "frame", "offset_s", "frame_width", "frame_height", "score", "quality", "dhash", "image",
)  # fmt: skip


def crop_row(
    source: str,
    name: str,
    camera: str,
    start: datetime | None,
    candidate: CropCandidate,
    pid: int | None = None,
    encoded: bytes | None = None,
) -> CropRow:
    """Return the row of a candidate from the input `name`; `start` is when its video began or the still was taken."""
    x, y, w, h = (float(value) for value in candidate.box)
    time = start + timedelta(seconds=candidate.offset_s or 0.0) if start is not None else None
    columns = {column: getattr(candidate, column) for column in CANDIDATE_COLUMNS}
    place = {"x": x, "y": y, "w": w, "h": h, "camera": camera, "time": time, "tracklet": ""}
    return {**columns, **place, "source": source, "input": name, "pid": pid, "encoded": encoded}


def embed_rows(rows: Iterable[CropRow], extractor: Extractor) -> Iterator[tuple[pa.RecordBatch, BoolArray]]:
    """Embed and encode `rows` in batches of fixed size, with which rows are finite; memory is one batch."""
    schema = crop_schema(extractor.package.embedding_dim)
    computed = {*SINCE_2.names, EMBEDDING, "image"}
    pending = iter(rows)
    while batch := list(islice(pending, extractor.batch_size)):
        outputs = extractor.extract([row["image"] for row in batch])
        columns: dict[str, Any] = {name: [row[name] for row in batch] for name in schema.names if name not in computed}
        columns["image"] = [row["encoded"] or encode_jpeg(shrink(row["image"], MAX_CROP_HEIGHT)) for row in batch]
        columns |= feature_columns(outputs.descriptors, outputs.probabilities, outputs.areas)
        yield pa.RecordBatch.from_pydict(columns, schema=schema), outputs.are_finite()


def picked_rows(batch: pa.RecordBatch, tracklet_of: dict[str, str]) -> pa.RecordBatch:
    """Return the rows of `batch` whose crops assembly selected, with their tracklets filled in."""
    crop_ids = pa.array(list(tracklet_of), pa.string())
    rows = batch.filter(pc.is_in(batch.column("crop_id"), value_set=crop_ids))
    tracklets = pa.array([tracklet_of[name] for name in rows.column("crop_id").to_pylist()], pa.string())
    return rows.set_column(rows.schema.get_field_index("tracklet"), "tracklet", tracklets)
