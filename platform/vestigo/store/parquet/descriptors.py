"""Conversion between the output of a model and columns of crops. Symbols: K regions, M attribute values."""

from typing import Any

import numpy as np
import pyarrow as pa

from vestigo.store.models.records import ModelFacts
from vestigo.store.parquet.schemas import EMBEDDING
from vestigo_models.arrays import Float32Array
from vestigo_models.inference.distance import Descriptors, packed, unpacked


def feature_columns(descriptors: Descriptors, probabilities: Float32Array, areas: Float32Array) -> dict[str, pa.Array]:
    """Return the columns of n crops.

    Args:
        descriptors: Descriptors of the crops.
        probabilities: Attribute probabilities of shape (n, M), float32.
        areas: Share of the crop of each region, shape (n, K), float32.
    """
    vectors = np.ascontiguousarray(descriptors.vectors, dtype=np.float32)
    return {
        "visible": pa.array(packed(descriptors.visible)),
        "attributes": _lists(probabilities),
        "regions": _lists(areas),
        EMBEDDING: pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
    }


def descriptors_of(embeddings: pa.Array, visible: pa.Array, facts: ModelFacts) -> Descriptors:
    """Return the descriptors of n crops from their columns `embedding` and `visible`."""
    masks = visible.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return Descriptors(vectors=matrix(embeddings), visible=unpacked(masks, facts.parts), always=facts.always)


def matrix(lists: pa.Array) -> Float32Array:
    """Return a column of n lists of one width as an array of shape (n, width), without a copy; (n, 0) if empty."""
    flat = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return flat.reshape(len(lists), len(flat) // max(1, len(lists)))


def _lists(table: Float32Array) -> Any:
    n, width = table.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * np.int32(width))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(table, dtype=np.float32).reshape(-1)))
