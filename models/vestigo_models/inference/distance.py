"""The part-visible distance of docs/method.md, "Distance": only parts that both crops show are compared.

A descriptor is one vector: always-present features and parts, each of length 1, invisible parts zero. The numerator of
equation 14 is then its denominator minus one product of descriptors, and the denominator is one product of visibility
flags plus the number of always-present features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int32Array


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """Descriptors of N crops."""

    vectors: FloatArray  # N x D, float32 as a model makes them, blocks of length 1 or 0
    visible: BoolArray  # N x (K-1) bool, l_k; K = 1 for a network without parts
    always: int  # number of always-present features in a vector (3 with attributes, 2 without, 1 for the baseline)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice | NDArray[np.integer] | BoolArray) -> Descriptors:
        return Descriptors(vectors=self.vectors[rows], visible=self.visible[rows], always=self.always)

    @classmethod
    def joined(cls, parts: Sequence[Descriptors]) -> Descriptors:
        """Concatenate descriptors of one network; at least one part."""
        return cls(
            vectors=np.concatenate([part.vectors for part in parts]),
            visible=np.concatenate([part.visible for part in parts]),
            always=parts[0].always,
        )


def packed(visible: BoolArray) -> Int32Array:
    """Return visibility of shape (n, K-1) as bits of shape (n,), the first part lowest."""
    bits = np.left_shift(1, np.arange(visible.shape[1]), dtype=np.int32)
    return np.asarray(visible @ bits if visible.shape[1] else np.zeros(len(visible)), dtype=np.int32)


def unpacked(masks: Int32Array, parts: int) -> BoolArray:
    """Return visibility of shape (n, K-1) from the bits that `packed` returns."""
    return np.asarray((masks[:, None] >> np.arange(parts, dtype=np.int32)) & 1, dtype=np.bool_)


def part_visible_distance(query: Descriptors, gallery: Descriptors) -> FloatArray:
    """Compute equation 14 of docs/method.md for all pairs: the mean cosine distance over what both crops show.

    Args:
        query: Descriptors of Q crops.
        gallery: Descriptors of G crops, made by the same network.

    Returns:
        Distances of shape (Q, G), in [0, 2], of the type of the vectors.

    Raises:
        ValueError: If the descriptors come from different networks.
    """
    if query.always != gallery.always or query.vectors.shape[1:] != gallery.vectors.shape[1:]:
        raise ValueError(
            f"descriptors of different networks: {query.vectors.shape[1]} and {gallery.vectors.shape[1]} numbers, "
            f"{query.always} and {gallery.always} always-present features"
        )
    similarity = query.vectors @ gallery.vectors.T
    shared = query.visible.astype(np.float32) @ gallery.visible.astype(np.float32).T
    # Every term of the numerator is 1 - cosine, so the ones add up to the denominator.
    return np.asarray(1 - similarity / (shared + query.always))


def paired_distance(query: Descriptors, gallery: Descriptors) -> Float64Array:
    """Compute equation 14 row by row, (N,) in [0, 2], in float64; the order of summation depends on no other row."""
    similarity = (query.vectors.astype(np.float64) * gallery.vectors).sum(axis=1)
    shared = (query.visible & gallery.visible).sum(axis=1)
    return np.asarray(np.maximum(1 - similarity / (shared + query.always), 0.0))


def block_distances(query: Descriptors, gallery: Descriptors, blocks: Sequence[int]) -> Float64Array:
    """Compute the terms of equation 14 row by row; their mean over the blocks that both crops show is the distance.

    Args:
        query: Descriptors of N crops.
        gallery: Descriptors of N crops, made by the same network.
        blocks: Lengths of the B blocks, always-present features first; () for one block.

    Returns:
        Cosine distances of shape (N, B), NaN where one of the crops does not show the block.
    """
    products = query.vectors.astype(np.float64) * gallery.vectors
    cosines = [part.sum(axis=1) for part in np.split(products, np.cumsum(blocks)[:-1], axis=1)]
    distances = 1 - np.stack(cosines, axis=1)
    distances[:, query.always :][~(query.visible & gallery.visible)] = np.nan
    return np.asarray(distances)
