"""Crop candidates as the table that assembly reads."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from vestigo.ingest.crops import CropCandidate

SCHEMA = pa.schema(
    [("crop_id", pa.string()), ("offset_s", pa.float64()), ("quality", pa.float32()), ("dhash", pa.int64())]
)


def candidate_table(candidates: Sequence[CropCandidate]) -> pa.Table:
    """Return the columns that `assemble_tracklets` reads."""
    rows = [{name: getattr(candidate, name) for name in SCHEMA.names} for candidate in candidates]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
