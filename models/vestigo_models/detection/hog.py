"""Histograms of oriented gradients with OpenCV's people detector.

Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005. It needs no weights and runs on a
CPU. It finds upright, fully visible people, and misses sitting, bent and occluded people.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from vestigo_models.arrays import Float64Array, UInt8Array
from vestigo_models.detection.base import Detections, suppress, vote_boxes

MARGIN_X = 0.25
MARGIN_Y = 0.125
"""Fraction of background on each side of a person in a window; boxes are shrunk by it.

The detector was trained on people of 32 x 96 pixels in the middle of windows of 64 x 128 pixels.
"""
MAX_TILE_WIDTH = 8192
"""Pixels. A wider scaled frame is searched in tiles, so that memory does not grow with its width."""
TILE_OVERLAP = 640
"""Pixels, more than the widest window: a frame is scaled to at most 1080 pixels of height, windows are half as wide."""


@dataclass(frozen=True, kw_only=True)
class HogConfig:
    """Parameters of the search.

    The smallest person found is about 96 pixels tall after scaling. A frame is scaled to a height between `min_height`
    and `max_height` pixels, at most by `max_upscale`.
    """

    min_height: int = 720
    max_height: int = 1080
    max_upscale: float = 2.0
    scale_step: float = 1.15
    stride: int = 8
    padding: int = 16
    min_margin: float = 0.2
    max_iou: float = 0.45
    max_inside: float = 0.75
    vote_iou: float = 0.5

    def upscale(self, height: int) -> float:
        """Return the factor by which a frame of `height` pixels is resized before the search."""
        return min(max(1.0, self.min_height / height), self.max_upscale, self.max_height / height)


class HogDetector:
    """`cv2.HOGDescriptor` with the default people detector, margins removed, with one box per person."""

    name = "hog"

    def __init__(self, config: HogConfig | None = None) -> None:
        self.config = config or HogConfig()
        coefficients = np.asarray(cv2.HOGDescriptor_getDefaultPeopleDetector(), dtype=np.float32)  # type: ignore[attr-defined]
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(coefficients)
        facts = json.dumps({"algorithm": "hog-2", "opencv": cv2.__version__, **asdict(self.config)}, sort_keys=True)
        self.digest = hashlib.sha256(facts.encode() + coefficients.tobytes()).hexdigest()

    def detect(self, image: UInt8Array) -> Detections:
        """Return upright people in an RGB uint8 frame of shape (height, width, 3) with scores of `confidence`."""
        config = self.config
        scale = config.upscale(image.shape[0])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        window_w, window_h = self._hog.winSize
        if size[0] + 2 * config.padding < window_w or size[1] + 2 * config.padding < window_h:
            return Detections.ordered(np.empty((0, 4)), np.empty(0))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
        windows, margins = self._search(np.asarray(scaled, dtype=np.uint8))
        boxes = windows / scale
        margin = boxes[:, 2:] * (MARGIN_X, MARGIN_Y)
        boxes[:, :2] += margin
        boxes[:, 2:] -= 2 * margin
        candidates = Detections.ordered(boxes, confidence(margins))
        kept = suppress(candidates, max_iou=config.max_iou, max_inside=config.max_inside)
        people = vote_boxes(kept, candidates, min_iou=config.vote_iou)
        is_confident = people.scores >= confidence(np.array(config.min_margin))
        return Detections(people.boxes[is_confident], people.scores[is_confident])

    def _search(self, scaled: UInt8Array) -> tuple[Float64Array, Float64Array]:
        """Return windows, (N, 4), x, y, w, h in pixels of a scaled frame, and their SVM margins, (N,)."""
        config = self.config
        windows, margins = [np.empty((0, 4))], [np.empty(0)]
        for left in range(0, max(1, scaled.shape[1] - TILE_OVERLAP), MAX_TILE_WIDTH - TILE_OVERLAP):
            boxes, weights = self._hog.detectMultiScale(
                scaled[:, left : left + MAX_TILE_WIDTH],
                # Windows between the decision boundary and `min_margin` detect no person but vote on boxes.
                hitThreshold=0.0,
                winStride=(config.stride, config.stride),
                padding=(config.padding, config.padding),
                scale=config.scale_step,
                groupThreshold=0,
            )
            windows.append(np.asarray(boxes, dtype=np.float64).reshape(-1, 4) + np.array([left, 0, 0, 0]))
            margins.append(np.asarray(weights, dtype=np.float64).ravel())
        return np.concatenate(windows), np.concatenate(margins)


def confidence(margin: Float64Array) -> Float64Array:
    """Return SVM margins as scores in 0..1, comparable with learned detectors: 1 / (1 + exp(-2 (margin - 0.8)))."""
    return np.asarray(1.0 / (1.0 + np.exp(-2.0 * (margin - 0.8))))
