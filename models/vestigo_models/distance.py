"""The part-visible distance (equations 13 and 14): only parts that both people show are compared.

A descriptor is one vector: always-present features and parts, each L2-normalised, a part that is not visible all zero.
Then the numerator of equation 14 is one product of descriptors and its denominator one product of visibilities, and a
ranking needs no more of a crop than these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """N people as equation 14 compares them.

    Attributes:
        vectors: N x D float32, blocks of length 1 or 0.
        visible: N x (K-1) bool, l_k; K = 1 for a network without parts.
        always: number of always-present features in a vector (3 with attributes, 2 without, 1 for the baseline).
    """

    vectors: Floats
    visible: Flags
    always: int

    def __len__(self) -> int:
        return len(self.vectors)


def describe(always: Sequence[Floats], parts: Floats | None = None, visible: Flags | None = None) -> Descriptors:
    """Build descriptors from features after their BNNecks.

    always: arrays N x D_i (global, foreground, global with attributes, those that the network has); parts: N x (K-1) x
    D; visible: N x (K-1).
    """
    count = len(always[0])
    blocks = [_unit(features) for features in always]
    if parts is None or visible is None:
        return Descriptors(
            vectors=np.concatenate(blocks, axis=1), visible=np.zeros((count, 0), dtype=bool), always=len(always)
        )
    shown = np.where(visible[..., None], _unit(parts), np.float32(0))
    return Descriptors(
        vectors=np.concatenate([*blocks, shown.reshape(count, -1)], axis=1), visible=visible, always=len(always)
    )


def part_visible_distance(query: Descriptors, gallery: Descriptors) -> Floats:
    """Equation 14: the mean cosine distance of the always-present features and of the parts that both show.

    Returns Q x G float32 in 0..2. Raises ValueError for descriptors of different networks.
    """
    if query.always != gallery.always or query.vectors.shape[1:] != gallery.vectors.shape[1:]:
        raise ValueError(
            f"descriptors of different networks: {query.vectors.shape[1]} and {gallery.vectors.shape[1]} numbers, "
            f"{query.always} and {gallery.always} always-present features"
        )
    similarity = query.vectors @ gallery.vectors.T
    shared = query.visible.astype(np.float32) @ gallery.visible.astype(np.float32).T
    # Every term of the numerator is 1 - cosine, so the ones add up to the denominator.
    distance: Floats = 1 - similarity / (shared + query.always)
    return distance


def visible_parts(labels: NDArray[np.integer], regions: int, *, least_cells: int = 1) -> Flags:
    """Which of the regions 1..K-1 a person shows: N x H x W argmax labels to N x (K-1)."""
    cells = np.stack([(labels == region).sum(axis=(1, 2)) for region in range(1, regions)], axis=1)
    return np.asarray(cells >= least_cells)


def _unit(features: Floats) -> Floats:
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1), dtype=np.float32)
