"""What a detector is: an RGB frame goes in, boxes of people come out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """People of one frame, best first.

    boxes: float32 (N, 4), x, y, w, h in pixels of the frame; a box may stick out of the frame.
    scores: float32 (N,), 0..1, higher is surer.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    @classmethod
    def ordered(cls, boxes: NDArray[np.floating], scores: NDArray[np.floating]) -> Detections:
        """Bring detections into the one order that does not depend on how they were found: score, then box."""
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        scores = np.asarray(scores, dtype=np.float32).reshape(-1)
        order = np.lexsort((boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -scores))
        return cls(boxes[order], scores[order])

    def __len__(self) -> int:
        return len(self.boxes)


class Detector(Protocol):
    """Finds people in one frame; the same frame always gives the same detections."""

    @property
    def name(self) -> str:
        """What users call it: `hog`, `hf:facebook/...`."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over everything that decides the detections: algorithm, parameters, weights."""

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Detect people in an RGB uint8 frame of shape (height, width, 3)."""


def iou_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every pair of boxes: (N, 4) and (M, 4), x, y, w, h -> float64 (N, M)."""
    a = np.asarray(a, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(b, dtype=np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def suppress(detections: Detections, *, max_iou: float, max_inside: float = math.inf) -> Detections:
    """Greedy non-maximum suppression; expects and keeps the order best first.

    A box is dropped when a better one overlaps it by more than `max_iou` (fraction of the union), or when the two
    share more than `max_inside` of the smaller box (a torso found inside a body).
    """
    boxes = np.asarray(detections.boxes, dtype=np.float64)
    iou = iou_matrix(boxes, boxes)
    areas = np.prod(boxes[:, 2:], axis=1)
    # iou = shared / (A + B - shared)  =>  shared = iou * (A + B) / (1 + iou)
    shared = iou * (areas[:, None] + areas[None, :]) / (1.0 + iou)
    smaller = np.maximum(np.minimum(areas[:, None], areas[None, :]), 1e-9)
    rivals = (iou > max_iou) | (shared / smaller > max_inside)
    kept: list[int] = []
    for candidate in range(len(boxes)):
        if not rivals[candidate, kept].any():
            kept.append(candidate)
    return Detections(detections.boxes[kept], detections.scores[kept])


def vote(kept: Detections, found: Detections, *, min_iou: float) -> Detections:
    """Move each kept box to the mean, weighted by score, of all found boxes that overlap it by `min_iou` or more.

    A sliding window hits a person many times, each a little off; their mean jitters much less than the best one.
    Gidaris and Komodakis, "Object detection via a multi-region and semantic segmentation-aware CNN model", ICCV 2015.
    """
    voices = np.where(iou_matrix(kept.boxes, found.boxes) >= min_iou, np.maximum(found.scores, 1e-6), 0.0)
    moved = (voices[:, :, None] * np.asarray(found.boxes, dtype=np.float64)).sum(axis=1) / voices.sum(axis=1)[:, None]
    return Detections(moved.astype(np.float32), kept.scores)
