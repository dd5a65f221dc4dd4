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

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Descriptors:
        return Descriptors(vectors=self.vectors[rows], visible=self.visible[rows], always=self.always)

    @classmethod
    def joined(cls, parts: Sequence[Descriptors]) -> Descriptors:
        """Descriptors of one network, one after the other; at least one."""
        return cls(
            vectors=np.concatenate([part.vectors for part in parts]),
            visible=np.concatenate([part.visible for part in parts]),
            always=parts[0].always,
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
