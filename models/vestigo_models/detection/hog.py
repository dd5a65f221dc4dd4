"""The embedded default: histograms of oriented gradients with OpenCV's own people detector.

Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005. It needs no weights, runs on a
CPU, and finds upright people whose whole body is seen; sitting, bent and half hidden people escape it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.detection.base import Detections, suppress, vote

MARGIN_X = 0.10
MARGIN_Y = 0.07
"""A window holds that share of background on each side of the person; boxes are shrunk by it."""


@dataclass(frozen=True, kw_only=True)
class HogConfig:
    """Parameters of the search.

    The smallest person that is found is about 110 pixels tall *after* scaling. A frame is scaled so that its height
    comes between `min_height` and `max_height` pixels, but never by more than `max_upscale`.
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
        """The factor by which a frame of `height` pixels is resized before the search."""
        return min(max(1.0, self.min_height / height), self.max_upscale, self.max_height / height)


class HogDetector:
    """`cv2.HOGDescriptor` with the default people detector, margins removed, suppressed to one box a person."""

    name = "hog"

    def __init__(self, config: HogConfig | None = None) -> None:
        self.config = config or HogConfig()
        coefficients = np.asarray(cv2.HOGDescriptor_getDefaultPeopleDetector(), dtype=np.float32)  # type: ignore[attr-defined]
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(coefficients)
        facts = json.dumps({"algorithm": "hog-1", "opencv": cv2.__version__, **asdict(self.config)}, sort_keys=True)
        self.digest = hashlib.sha256(facts.encode() + coefficients.tobytes()).hexdigest()

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Detect upright people in an RGB uint8 frame of shape (height, width, 3); scores are those of `confidence`."""
        config = self.config
        scale = config.upscale(image.shape[0])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        window_w, window_h = self._hog.winSize
        if size[0] + 2 * config.padding < window_w or size[1] + 2 * config.padding < window_h:
            return Detections.ordered(np.empty((0, 4)), np.empty(0))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
        windows, weights = self._hog.detectMultiScale(
            scaled,
            # Windows between the decision boundary and `min_margin` find nobody but still say where somebody is.
            hitThreshold=0.0,
            winStride=(config.stride, config.stride),
            padding=(config.padding, config.padding),
            scale=config.scale_step,
            groupThreshold=0,
        )
        boxes = np.asarray(windows, dtype=np.float64).reshape(-1, 4) / scale
        margin = boxes[:, 2:] * (MARGIN_X, MARGIN_Y)
        boxes[:, :2] += margin
        boxes[:, 2:] -= 2 * margin
        margins = np.asarray(weights, dtype=np.float64).ravel()
        found = Detections.ordered(boxes, confidence(margins))
        best = suppress(found, max_iou=config.max_iou, max_inside=config.max_inside)
        placed = vote(best, found, min_iou=config.vote_iou)
        sure = placed.scores >= confidence(np.array(config.min_margin))
        return Detections(placed.boxes[sure], placed.scores[sure])


def confidence(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """SVM margins on the scale 0..1 on which learned detectors give their scores: 1 / (1 + exp(-2 (margin - 0.8)))."""
    return np.asarray(1.0 / (1.0 + np.exp(-2.0 * (margin - 0.8))))
