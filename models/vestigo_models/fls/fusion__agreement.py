"""What a network and a parser say of cells together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS

Floats = NDArray[np.float32]


def agreed(network: Floats, parser: Floats) -> Floats:
    """The product of both opinions, normalised (Hinton, "Products of Experts", ICANN 1999).

    Both are ... x 6 region probabilities. Belongings are background to a parser, so that its background speaks for
    both; where one that has a class for bags sees them, that speaks for belongings as well.
    """
    heard = parser.copy()
    heard[..., BELONGINGS] += parser[..., BACKGROUND]
    both = network * heard
    total = both.sum(axis=-1, keepdims=True)
    # Where one rules out all that the other believes in, the network is right about what the parser cannot know.
    together: Floats = np.divide(both, total, out=network.copy(), where=total > 0)
    return together
