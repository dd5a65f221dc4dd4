"""Colour histograms that distinguish people between nearby frames."""

import cv2
import numpy as np

from vestigo_models.arrays import Float64Array, FloatArray, UInt8Array

BINS = 6
STRIPES = ((0.15, 0.50), (0.50, 0.90))
"""Upper and lower body, as fractions of the height; only the middle 60 % of the width counts."""


def histograms(image: UInt8Array, boxes: FloatArray) -> Float64Array:
    """Compute square roots of two normalised RGB histograms for each box, of upper and lower body, at half weight each.

    Args:
        image: RGB uint8, (H, W, 3).
        boxes: (N, 4), x, y, w, h in pixels.

    Returns:
        (N, 432), rows of length 1, or zero for a box outside the frame.
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


def hellinger(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return the Hellinger distance sqrt(1 - a . b) of every pair of rows of `histograms`, (N, M), 0..1."""
    # Not `a @ b.T`: the order of summation in BLAS may depend on the number of rows, and links must not.
    overlap = (a[:, None, :] * b[None, :, :]).sum(axis=-1)
    return np.asarray(np.sqrt(np.clip(1.0 - overlap, 0.0, 1.0)))
