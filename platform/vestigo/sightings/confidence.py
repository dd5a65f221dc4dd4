"""Confidence histograms per camera, attribute and value.

Counts are stored with each camera's presence in a file, so that those of an archive are a sum over its files.
"""

import sqlite3
from collections.abc import Collection

import numpy as np

from vestigo_models.arrays import Float32Array, Int64Array
from vestigo_models.schemas.attributes import AttributeSchema

LEVELS = 101
"""Level k counts confidences in [k, k + 1) percent; the last level counts 100 percent."""
_STEPS = (np.arange(LEVELS) / 100).astype(np.float32)


def count_confidences(
    probabilities: Float32Array, camera: Int64Array, cameras: int, schema: AttributeSchema | None
) -> list[bytes]:
    """Count n crops by camera (n,), predicted class of each attribute, and level of their probabilities (n, M).

    Returns:
        For each camera the non-zero positions of the flat (M, `LEVELS`) table and their counts, as little-endian
        uint32 pairs.
    """
    if schema is None or not probabilities.shape[1]:
        return [b""] * cameras
    keys = []
    for attribute, offset in zip(schema.attributes, schema.offsets, strict=True):
        part = probabilities[:, offset : offset + len(attribute.values)]
        level = np.searchsorted(_STEPS, part.max(axis=1), side="right") - 1
        keys.append((part.argmax(axis=1) + offset) * LEVELS + np.maximum(level, 0))
    table = np.stack(keys, axis=1)
    return [
        np.stack(np.unique(table[camera == number], return_counts=True), axis=1).astype("<u4").tobytes()
        for number in range(cameras)
    ]


def confidence_histograms(
    connection: sqlite3.Connection, model: int, cameras: Collection[str] | None, schema: AttributeSchema
) -> dict[str, Int64Array]:
    """Return attribute -> (values, `LEVELS`): crops of some cameras by predicted value and confidence level."""
    statement = "SELECT name, histogram FROM presence JOIN camera ON camera.id = presence.camera WHERE model = ?"
    rows = connection.execute(statement, (model,))
    raw = b"".join(counts for camera, counts in rows if cameras is None or camera in cameras)
    places, counts = np.frombuffer(raw, "<u4").reshape(-1, 2).T
    total = np.bincount(places, weights=counts, minlength=schema.classes * LEVELS).astype(np.int64)
    table = total.reshape(schema.classes, LEVELS)
    return {name: table[schema.slice(name)] for name in schema.names}
