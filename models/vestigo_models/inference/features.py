"""What a model computes for crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo_models.arrays import BoolArray, Float32Array
from vestigo_models.inference.distance import Descriptors


@dataclass(frozen=True, kw_only=True, eq=False)
class CropFeatures:
    """What a model computes for N crops."""

    descriptors: Descriptors
    # Attribute probabilities, N x M float32, calibrated if the package is; they sum to 1 within each attribute. M = 0
    # without attributes.
    probabilities: Float32Array
    areas: Float32Array  # Share of the grid's cells that each region has, N x K float32. K = 0 without regions.

    def __len__(self) -> int:
        return len(self.descriptors)

    def __getitem__(self, rows: slice | NDArray[np.integer] | BoolArray) -> CropFeatures:
        return CropFeatures(
            descriptors=self.descriptors[rows], probabilities=self.probabilities[rows], areas=self.areas[rows]
        )

    def are_finite(self) -> BoolArray:
        """Return which of the N crops have no number that is NaN or infinite, (N,)."""
        computed = (self.descriptors.vectors, self.probabilities, self.areas)
        return np.asarray(np.all([np.isfinite(values).all(axis=1) for values in computed], axis=0))

    @classmethod
    def joined(cls, parts: Sequence[CropFeatures]) -> CropFeatures:
        """Concatenate the features of one model; at least one part."""
        return cls(
            descriptors=Descriptors.joined([part.descriptors for part in parts]),
            probabilities=np.concatenate([part.probabilities for part in parts]),
            areas=np.concatenate([part.areas for part in parts]),
        )
