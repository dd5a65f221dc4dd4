"""Dense distances of blocks, for comparison with loops over pairs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vestigo.ranking.screening import DistanceBlock


def dense(blocks: Iterable[DistanceBlock]) -> np.ndarray:
    """Return the exact distances of all queries; asserts that the rough ones are within their margin."""
    parts = []
    for block in blocks:
        parts.append(block.dense())
        assert np.abs(block.rough - parts[-1]).max() <= block.margin + 1e-12
    return np.concatenate(parts)
