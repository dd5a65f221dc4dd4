"""How far two label maps agree: counts that add up over images, and the IoU of every class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion(truth: NDArray[np.uint8], found: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixels by true class (row) and found class (column): classes x classes; sums over images are those of the set.

    Both maps hold ids below `classes` and have one shape.
    """
    pairs = truth.astype(np.int64).ravel() * classes + found.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of every class, a fraction; NaN for a class that neither map holds."""
    both = np.diagonal(counts).astype(np.float64)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    shares: NDArray[np.float64] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return shares
