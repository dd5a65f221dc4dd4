"""Evidence that something moves inside a box: what tells a person from a lamp post under a fixed camera."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.tracking.config import TrackingConfig

WORKING_HEIGHT = 360
MIN_CHANGE = 18
"""Grey levels by which a blurred pixel has to differ; noise and compression stay below."""


class MotionMeter:
    """Compares each sampled frame with the one `motion_s` earlier; remembers twice that span and nothing more."""

    def __init__(self, config: TrackingConfig) -> None:
        self._span = config.cells(config.motion_s)
        self._window: deque[tuple[int, NDArray[np.uint8]]] = deque()

    def measure(self, cell: int, image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Share of changed pixels in each box.

        image: RGB uint8 (H, W, 3), frames in order of time; boxes: (N, 4), x, y, w, h in pixels.
        Returns float32 (N,) in 0..1, NaN where there is no earlier frame to compare with.
        """
        grey, scale = _working_grey(image)
        while self._window and self._window[0][0] < cell - 2 * self._span:
            self._window.popleft()
        earlier = [seen for at, seen in self._window if at <= cell - self._span and seen.shape == grey.shape]
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


def _working_grey(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, WORKING_HEIGHT / grey.shape[0])
    if scale < 1.0:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(grey, (5, 5), 0), dtype=np.uint8), scale
