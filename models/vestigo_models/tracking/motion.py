"""Motion inside boxes, which distinguishes people from static objects under a fixed camera."""

from collections import deque

import cv2
import numpy as np

from vestigo_models.arrays import Float32Array, FloatArray, UInt8Array
from vestigo_models.tracking.config import TrackingConfig

WORKING_HEIGHT = 360
MIN_CHANGE = 18
"""Least difference of a changed pixel in grey levels after blurring, above noise and compression."""


class MotionMeter:
    """Compares each sampled frame with the one `motion_s` earlier; it remembers twice that span."""

    def __init__(self, config: TrackingConfig) -> None:
        self._span = config.cells(config.motion_s)
        self._window: deque[tuple[int, UInt8Array]] = deque()

    def measure(self, cell: int, image: UInt8Array, boxes: FloatArray) -> Float32Array:
        """Return the fraction of changed pixels in each box, (N,), NaN without an earlier frame to compare with.

        Args:
            cell: Number of the frame's time cell, increasing from call to call.
            image: RGB uint8, (H, W, 3).
            boxes: (N, 4), x, y, w, h in pixels.
        """
        grey, scale = _working_grey(image)
        while self._window and self._window[0][0] < cell - 2 * self._span:
            self._window.popleft()
        earlier = [old for number, old in self._window if number <= cell - self._span and old.shape == grey.shape]
        self._window.append((cell, grey))
        if not earlier:
            return np.full(len(boxes), np.nan, dtype=np.float32)
        changed = cv2.absdiff(grey, earlier[-1]) >= MIN_CHANGE
        height, width = grey.shape
        shares = np.zeros(len(boxes), dtype=np.float32)
        for row, (x, y, w, h) in enumerate(np.asarray(boxes, dtype=np.float64) * scale):
            left, right = np.clip((round(x), round(x + w)), 0, width)
            top, bottom = np.clip((round(y), round(y + h)), 0, height)
            inside = changed[top:bottom, left:right]
            shares[row] = inside.mean() if inside.size else 0.0
        return shares


def _working_grey(image: UInt8Array) -> tuple[UInt8Array, float]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WORKING_HEIGHT / grey.shape[0])
    if scale < 1.0:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(grey, (5, 5), 0), dtype=np.uint8), scale
