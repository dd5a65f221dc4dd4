"""What every parser promises: pixels of one person to classes of body parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vestigo_models.parsing.labels import LabelSet


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """One image as a parser sees it.

    Attributes:
        labels: h x w uint8, the parser's own class ids at the image's size.
        regions: K x rows x columns float32, region probabilities on the grid.
    """

    labels: NDArray[np.uint8]
    regions: NDArray[np.float32]


class Parser(Protocol):
    """Parses crops of people; deterministic."""

    label_set: LabelSet
    digest: str
    """SHA-256 of the weights and of every setting that changes what is parsed."""

    def parse(self, images: Sequence[NDArray[np.uint8]]) -> list[Parsed]:
        """RGB uint8 images (h x w x 3, each of its own size) to what they show."""
        ...
