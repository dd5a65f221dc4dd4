"""What a model says of crops, as columns of the crops table and back. Symbols: K regions, M classes of attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.store.models.facts import ModelFacts
from vestigo.store.parquet.schemas import EMBEDDING
from vestigo_models.inference.distance import Descriptors

Floats = NDArray[np.float32]


def feature_columns(descriptors: Descriptors, probabilities: Floats, areas: Floats) -> dict[str, pa.Array]:
    """Columns of n crops: descriptors of dimension D, probabilities (n, M), areas (n, K)."""
    vectors = np.ascontiguousarray(descriptors.vectors, dtype=np.float32)
    return {
        "visible": pa.array(packed(descriptors.visible)),
        "attributes": _lists(probabilities),
        "regions": _lists(areas),
        EMBEDDING: pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
    }


def descriptors_of(embeddings: pa.Array, visible: pa.Array, facts: ModelFacts) -> Descriptors:
    """Descriptors of n crops from their columns `embedding` and `visible`."""
    masks = visible.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return Descriptors(vectors=matrix(embeddings), visible=unpacked(masks, facts.parts), always=facts.always)


def matrix(lists: pa.Array) -> Floats:
    """(n, width) float32 view of a column of lists of one width; (n, 0) where they are empty."""
    flat = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return flat.reshape(len(lists), len(flat) // max(1, len(lists)))


def packed(visible: NDArray[np.bool_]) -> NDArray[np.int32]:
    """One bit a part, the first part lowest: (n, K-1) to (n,)."""
    bits = np.left_shift(1, np.arange(visible.shape[1]), dtype=np.int32)
    return np.asarray(visible @ bits if visible.shape[1] else np.zeros(len(visible)), dtype=np.int32)


def unpacked(masks: NDArray[np.int32], parts: int) -> NDArray[np.bool_]:
    """The inverse of `packed` for K-1 parts."""
    return np.asarray((masks[:, None] >> np.arange(parts, dtype=np.int32)) & 1, dtype=np.bool_)


def _lists(table: Floats) -> Any:
    n, width = table.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * np.int32(width))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(table, dtype=np.float32).reshape(-1)))
