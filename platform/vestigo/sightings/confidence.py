"""How sure a model is of all crops, counted percent by percent.

Counts lie beside each camera's presence in a file, so that those of an archive are a sum over its files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vestigo_models.schemas.attributes import AttributeSchema

LEVELS = 101
"""Level k holds what is at least k and less than k + 1 hundredths sure; the last one what is certain."""
_STEPS = (np.arange(LEVELS) / 100).astype(np.float32)


def tallied(
    probabilities: NDArray[np.float32], camera: NDArray[np.int64], cameras: int, schema: AttributeSchema | None
) -> list[bytes]:
    """Count n crops with (n, M) probabilities by `camera` (n,), likeliest class of each attribute, and level.

    Returns for each camera the places in the flat (M, `LEVELS`) table that are not 0, and their counts.
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


def sureness(
    connection: sqlite3.Connection, model: int, cameras: Sequence[int], schema: AttributeSchema
) -> dict[str, NDArray[np.int64]]:
    """Return attribute -> (values, `LEVELS`), how many crops of some cameras are taken for a value, and how surely."""
    wanted = set(cameras)
    rows = connection.execute("SELECT camera, sureness FROM presence WHERE model = ?", (model,))
    raw = b"".join(counts for camera, counts in rows if camera in wanted)
    places, counts = np.frombuffer(raw, "<u4").reshape(-1, 2).T
    total = np.bincount(places, weights=counts, minlength=schema.classes * LEVELS).astype(np.int64)
    table = total.reshape(schema.classes, LEVELS)
    return {name: table[schema.slice(name)] for name in schema.names}
