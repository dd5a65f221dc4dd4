"""A cheap description of how a person looks, only to tell neighbours apart from one frame to the next."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BINS = 6
STRIPES = ((0.15, 0.50), (0.50, 0.90))
"""Upper and lower body, as shares of the height; the middle 60 % of the width is looked at."""


def appearance(image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Square roots of two normalised RGB histograms (upper, lower body) a box, halved in weight.

    image: RGB uint8 (H, W, 3); boxes: (N, 4), x, y, w, h in pixels -> float64 (N, 432), each row of unit length, or
    zero where the box lies outside the frame. The Hellinger distance of two rows is sqrt(1 - a . b).
    """
    height, width = image.shape[:2]
    rows = np.zeros((len(boxes), len(STRIPES) * BINS**3), dtype=np.float64)
    for row, (x, y, w, h) in zip(rows, np.asarray(boxes, dtype=np.float64), strict=True):
        left, right = np.clip((round(x + 0.2 * w), round(x + 0.8 * w)), 0, width)
        for stripe, (top, bottom) in enumerate(STRIPES):
            low, high = np.clip((round(y + top * h), round(y + bottom * h)), 0, height)
            patch = image[low:high, left:right]
            if patch.size == 0:
                continue
            counts = cv2.calcHist([patch], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).astype(np.float64).ravel()
            share = counts / counts.sum() / len(STRIPES)
            row[stripe * BINS**3 : (stripe + 1) * BINS**3] = np.sqrt(share)
    return rows


def hellinger(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every pair of rows of `appearance`: (N, K), (M, K) -> float64 (N, M), 0..1."""
    # Not `a @ b.T`: a BLAS may sum in another order for another number of rows, and links must not depend on that.
    overlap = (a[:, None, :] * b[None, :, :]).sum(axis=-1)
    return np.asarray(np.sqrt(np.clip(1.0 - overlap, 0.0, 1.0)))
