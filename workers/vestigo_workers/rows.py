"""From crops in memory to rows of the crops table: embed in fixed batches, encode, lay out as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.store.schema import crop_schema
from vestigo_models.extraction import Extractor
from vestigo_models.images import encode_jpeg, shrink

STORED_HEIGHT = 512
"""A crop is stored at most this many pixels high; networks look at 256 or fewer."""


@dataclass(frozen=True, kw_only=True)
class CropRow:
    """One crop on its way into the store.

    Attributes:
        image: RGB uint8 (height, width, 3) as the network will see it.
        encoded: the crop's own JPEG bytes where the archive already holds them, else None.
        fields: the other columns of a crop row, without `image`, `embedding`.
    """

    image: NDArray[np.uint8]
    encoded: bytes | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def crop_fields(
    *,
    crop_id: str,
    source: str,
    name: str,
    camera: str,
    box: NDArray[np.float32],
    frame_size: tuple[int, int],
    frame: int = -1,
    start: datetime | None = None,
    offset_s: float | None = None,
    score: float = 1.0,
    quality: float,
    dhash: int,
    pid: int | None = None,
) -> dict[str, Any]:
    """Return the columns of one crop; `box` is x, y, w, h and `frame_size` height, width, all in pixels."""
    x, y, w, h = (float(value) for value in box)
    time = start + timedelta(seconds=offset_s or 0.0) if start is not None else None
    return {
        "crop_id": crop_id,
        "source": source,
        "input": name,
        "frame": frame,
        "time": time,
        "offset_s": offset_s,
        "camera": camera,
        "tracklet": "",
        "x": x,
        "y": y,
        "w": w,
        "h": h,
        "frame_width": frame_size[1],
        "frame_height": frame_size[0],
        "score": score,
        "quality": quality,
        "dhash": dhash,
        "pid": pid,
    }


def embed_rows(rows: Iterable[CropRow], extractor: Extractor) -> Iterator[pa.RecordBatch]:
    """Embed and encode `rows`, a fixed-size batch at a time; memory is one batch."""
    schema = crop_schema(extractor.package.embedding_dim)
    pending = iter(rows)
    while batch := list(islice(pending, extractor.batch_size)):
        embeddings = extractor.extract([row.image for row in batch])
        columns = {
            name: [row.fields[name] for row in batch] for name in schema.names if name not in ("image", "embedding")
        }
        columns["image"] = [row.encoded or encode_jpeg(shrink(row.image, STORED_HEIGHT)) for row in batch]
        columns["embedding"] = list(embeddings)
        yield pa.RecordBatch.from_pydict(columns, schema=schema)
