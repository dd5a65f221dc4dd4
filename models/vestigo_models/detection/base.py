"""The interface of person detectors, and operations on their boxes."""

import math
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from vestigo_models.arrays import Float32Array, Float64Array, FloatArray, UInt8Array


@dataclass(frozen=True)
class Detections:
    """Detections of one frame, best first.

    Detections with scores below `min_score` are uncertain: they only continue tracklets that others have started.
    """

    boxes: Float32Array  # (N, 4), x, y, w, h in pixels of the frame; a box may extend beyond the frame
    scores: Float32Array  # (N,), 0..1
    min_score: float = 0.0

    @classmethod
    def ordered(cls, boxes: FloatArray, scores: FloatArray, min_score: float = 0.0) -> Self:
        """Return detections in descending order of score, ties in the order of boxes."""
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        scores = np.asarray(scores, dtype=np.float32).reshape(-1)
        order = np.lexsort((boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -scores))
        return cls(boxes[order], scores[order], min_score)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def certain(self) -> Self:
        """The detections, the first of these, with at least `min_score`."""
        count = int((self.scores >= self.min_score).sum())
        return replace(self, boxes=self.boxes[:count], scores=self.scores[:count])


class Detector(Protocol):
    """Detects people in one frame; the same frame gives the same detections."""

    @property
    def name(self) -> str:
        """Reference such as `hog` or `hf:facebook/detr-resnet-50`."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that detections depend on: algorithm, parameters, weights."""

    def detect(self, image: UInt8Array) -> Detections:
        """Return the people in an RGB uint8 frame of shape (height, width, 3)."""


def iou_matrix(a: FloatArray, b: FloatArray) -> Float64Array:
    """Return the intersection over union (N, M) of every pair of boxes, (N, 4) and (M, 4), x, y, w, h."""
    a = np.asarray(a, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(b, dtype=np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def suppress(detections: Detections, *, max_iou: float, max_inside: float = math.inf) -> Detections:
    """Return detections, best first as given, after greedy non-maximum suppression.

    A kept box has at most `max_iou` intersection over union with a better box, and at most `max_inside` intersection as
    a fraction of the smaller box (a torso inside a body).
    """
    boxes = np.asarray(detections.boxes, dtype=np.float64)
    areas = np.prod(boxes[:, 2:], axis=1)
    kept: list[int] = []
    remaining = np.arange(len(boxes))
    # Row by row: a matrix of all pairs would take gigabytes for a large frame of texture.
    while len(remaining):
        best, others = remaining[0], remaining[1:]
        kept.append(int(best))
        iou = iou_matrix(boxes[best], boxes[others])[0]
        # iou = shared / (A + B - shared)  =>  shared = iou * (A + B) / (1 + iou)
        shared = iou * (areas[best] + areas[others]) / (1.0 + iou)
        smaller = np.maximum(np.minimum(areas[best], areas[others]), 1e-9)
        remaining = others[(iou <= max_iou) & (shared / smaller <= max_inside)]
    return replace(detections, boxes=detections.boxes[kept], scores=detections.scores[kept])


def vote_boxes(kept: Detections, candidates: Detections, *, min_iou: float) -> Detections:
    """Replace each kept box by the mean, weighted by score, of the candidates that overlap it by at least `min_iou`.

    Implements box voting (Gidaris and Komodakis, "Object detection via a multi-region and semantic segmentation-aware
    CNN model", ICCV 2015). The mean of many windows on a person is more stable than the best window.
    """
    candidate_boxes = np.asarray(candidates.boxes, dtype=np.float64)
    boxes = np.empty_like(kept.boxes)
    for index, box in enumerate(kept.boxes):
        overlaps = iou_matrix(box, candidates.boxes)[0] >= min_iou
        weights = np.where(overlaps, np.maximum(candidates.scores, 1e-6), 0.0)
        boxes[index] = (weights[:, None] * candidate_boxes).sum(axis=0) / weights.sum()
    return replace(kept, boxes=boxes)
