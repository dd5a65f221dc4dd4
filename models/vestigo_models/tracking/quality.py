"""How useful one crop of a person is, and when two crops are nearly the same picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FULL_HEIGHT = 128.0
"""From this height in pixels on, a crop is not better for being larger: it is what the networks look at."""
HALF_SHARPNESS = 400.0
"""Variance of the Laplacian (grey levels squared, on 128x64) at which sharpness is one half."""

FULL_MOTION = 0.5
"""A walker in full view changes at least half of the pixels of their box."""
LEAST_MOTION = 0.2
"""Somebody who stands still is not hidden: below this share of `FULL_MOTION` quality falls no further."""


def size_score(height: float) -> float:
    """min(1, height / 128), height in pixels."""
    return min(1.0, height / FULL_HEIGHT)


def sharpness_score(crop: NDArray[np.uint8]) -> float:
    """v / (v + 400), v the variance of the Laplacian of the grey crop resized to 128x64.

    The common size makes crops comparable: one that has to be enlarged is as blurred as it will look to a network.
    """
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (64, 128), interpolation=cv2.INTER_LINEAR)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    variance = float(deviation[0, 0]) ** 2
    return variance / (variance + HALF_SHARPNESS)


def visibility(box: NDArray[np.floating], frame_size: tuple[int, int], others: NDArray[np.floating]) -> float:
    """Share of a box that lies inside the frame and behind nobody.

    box: (4,), others: (N, 4), x, y, w, h in pixels; frame_size: (height, width). Of two overlapping people the one
    whose box ends lower stands nearer to the camera and hides the other. The union of the hiding boxes is counted
    on a grid of 32x16 points of the box.
    """
    x, y, w, h = (float(value) for value in box)
    if w <= 0 or h <= 0:
        return 0.0
    if not len(others) and x >= 0 and y >= 0 and x + w <= frame_size[1] and y + h <= frame_size[0]:
        return 1.0
    xs = x + w * (np.arange(16) + 0.5) / 16
    ys = y + h * (np.arange(32) + 0.5) / 32
    seen = ((ys >= 0) & (ys < frame_size[0]))[:, None] & ((xs >= 0) & (xs < frame_size[1]))[None, :]
    for ox, oy, ow, oh in np.asarray(others, dtype=np.float64).reshape(-1, 4):
        if oy + oh > y + h:
            seen &= ~(((ys >= oy) & (ys < oy + oh))[:, None] & ((xs >= ox) & (xs < ox + ow))[None, :])
    return float(seen.mean())


def uncovered(motion: float) -> float:
    """motion / 0.5, between 0.2 and 1; NaN (unknown) is 1.

    A sign, post or car between camera and person stands still and is sharp: under a fixed camera, only the share of
    a walker's box that moves tells that they are hidden.
    """
    return 1.0 if np.isnan(motion) else float(np.clip(motion / FULL_MOTION, LEAST_MOTION, 1.0))


def crop_quality(
    crop: NDArray[np.uint8],
    box: NDArray[np.floating],
    frame_size: tuple[int, int],
    others: NDArray[np.floating] | None = None,
    motion: float = np.nan,
) -> float:
    """Quality of a crop in 0..1: sqrt(size * sharpness) * visibility * uncovered.

    Size and sharpness say the same thing twice (a small crop is a blurred one), hence their geometric mean; what is
    seen multiplies, because half a person is half the evidence however sharp it is.

    crop: RGB uint8 (h, w, 3); box: (4,) in the frame, may stick out of it; others: (N, 4) other people's boxes;
    motion: share of the box's pixels that changed lately, NaN where unknown (a still, the first frames of a video).
    """
    hidden_by = np.empty((0, 4)) if others is None else others
    seen = visibility(box, frame_size, hidden_by) * uncovered(motion)
    return float(np.sqrt(size_score(float(box[3])) * sharpness_score(crop)) * seen)


def dhash(crop: NDArray[np.uint8]) -> int:
    """Difference hash of 64 bits as a signed 64-bit integer: does each of 8x8 cells outshine its right neighbour?

    crop: RGB uint8 (h, w, 3). Nearly equal pictures differ in few bits.
    """
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits(grey[:, :-1] > grey[:, 1:])
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def hamming(a: int, b: int) -> int:
    """Number of bits in which two 64-bit hashes differ."""
    return ((a ^ b) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()
