"""What a model says of crops, as far as a search compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vestigo_models.inference.distance import Descriptors

if TYPE_CHECKING:
    from vestigo_models.inference.extractor import Outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """N crops of one model: `descriptors`, and `probabilities` (N, M) float32, calibrated; M = 0 for a model without
    attributes, and where nobody asks for them."""

    descriptors: Descriptors
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.descriptors)

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Appearance:
        return Appearance(descriptors=self.descriptors[rows], probabilities=self.probabilities[rows])

    @classmethod
    def of(cls, outputs: Outputs) -> Appearance:
        """The same of what a model just said."""
        return cls(descriptors=outputs.descriptors, probabilities=outputs.probabilities)

    @classmethod
    def joined(cls, parts: Sequence[Appearance]) -> Appearance:
        """Crops of one model, one lot after the other; at least one lot."""
        return cls(
            descriptors=Descriptors.joined([part.descriptors for part in parts]),
            probabilities=np.concatenate([part.probabilities for part in parts]),
        )
