"""What every parser promises: pixels of one person to classes of body parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vestigo_models.parsing.label_maps import LabelSet

MAX_CLASSES = 256
"""Label maps are uint8."""


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
    """Parses crops of people; deterministic, and what it says of an image does not depend on the others."""

    label_set: LabelSet
    digest: str
    """SHA-256 of the weights and of every setting that changes what is parsed."""

    def parse(self, image: NDArray[np.uint8], name: str) -> Parsed:
        """Parse one RGB uint8 image (h x w x 3), whose file bears `name`.

        Raises:
            BadInput: this image cannot be parsed.
        """
        ...
