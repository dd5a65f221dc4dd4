"""Detect people in a frame and cut out their crops."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vestigo_models.detection.base import Detector
from vestigo_models.inference.images import shrink
from vestigo_models.tracking.quality import crop_quality, dhash

STILL = -1  # the frame number of a still image
MAX_CROP_HEIGHT = 512  # taller crops are scaled down: no network needs more pixels, and a slice holds many crops
MIN_SIDE = 2.0  # boxes with less than this (pixels) inside the frame are dropped


def crop_id(name: str, digest: str, frame: int, box: NDArray[np.floating] | Sequence[float]) -> str:
    """Return the id (20 hex digits) of a crop, which is also the id of its detection.

    `name` and `digest` (SHA-256, hex) are those of the input, `frame` is an index or `STILL`, `box` is x, y, w, h in
    pixels, converted to float32.
    """
    corners = np.asarray(box, dtype="<f4").reshape(4)
    text = f"{name}\0{digest}\0{frame}\0"
    return hashlib.sha256(text.encode() + corners.tobytes()).hexdigest()[:20]


def whole_image_id(name: str, data: bytes, size: tuple[int, int]) -> str:
    """Return the id of an encoded image of `size` (height, width) that is indexed as one crop."""
    return crop_id(name, hashlib.sha256(data).hexdigest(), STILL, (0, 0, size[1], size[0]))


def tracklet_id(digest: str, first_detection: str) -> str:
    """Return the id (20 hex digits) of a tracklet from its video's digest and the id of its first detection."""
    return hashlib.sha256(f"{digest}\0{first_detection}".encode()).hexdigest()[:20]


@dataclass(frozen=True)
class CropCandidate:
    """A crop of a person that can be stored."""

    crop_id: str
    frame: int  # index in the video, or `STILL`
    offset_s: float | None  # seconds from the start of the video; None for a still
    box: NDArray[np.float32]  # float32 (4,), x, y, w, h in pixels, inside the frame
    score: float
    quality: float  # 0..1
    dhash: int  # perceptual hash, 64 bits, signed
    frame_width: int
    frame_height: int
    image: NDArray[np.uint8]  # RGB uint8 (h, w, 3)


def clip_boxes(boxes: NDArray[np.floating], frame_size: tuple[int, int]) -> NDArray[np.float32]:
    """Clip boxes (N, 4), x, y, w, h in pixels, to a frame of (height, width); float32 (N, 4)."""
    limits = np.array([frame_size[1], frame_size[0]], dtype=np.float32)
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    low = np.clip(corners[:, :2], 0, limits)
    high = np.clip(corners[:, :2] + corners[:, 2:], 0, limits)
    return np.concatenate([low, high - low], axis=1)


def cut_crop(image: NDArray[np.uint8], box: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Copy the pixels that a box inside the frame touches, at most `MAX_CROP_HEIGHT` high; RGB uint8 (h, w, 3)."""
    x, y, w, h = (float(value) for value in box)
    height, width = image.shape[:2]
    left, top = min(int(x), width - 1), min(int(y), height - 1)
    right, bottom = max(left + 1, min(width, int(np.ceil(x + w)))), max(top + 1, min(height, int(np.ceil(y + h))))
    return shrink(image[top:bottom, left:right], MAX_CROP_HEIGHT).copy()


@dataclass(frozen=True)
class PersonDetections:
    """N people of one frame, best first; the first `certain` have at least the detector's `min_score`."""

    ids: list[str]
    raw: NDArray[np.float32]  # (N, 4) float32, boxes of the detector
    boxes: NDArray[np.float32]  # (N, 4) float32, the same inside the frame
    scores: NDArray[np.float32]  # (N,) float32
    certain: int
    min_score: float

    def make_candidate(
        self, row: int, image: NDArray[np.uint8], frame: int, offset_s: float | None, motion: float = np.nan
    ) -> CropCandidate:
        """Cut out a certain detection and compute its quality; `motion` as in `crop_quality`."""
        crop = cut_crop(image, self.boxes[row])
        size = (image.shape[0], image.shape[1])
        others = np.delete(self.raw[: self.certain], row, axis=0)
        return CropCandidate(
            crop_id=self.ids[row],
            frame=frame,
            offset_s=offset_s,
            box=self.boxes[row],
            score=float(self.scores[row]),
            # Stored as float32; comparisons before and after storing must agree.
            quality=float(np.float32(crop_quality(crop, self.raw[row], size, others, motion))),
            dhash=dhash(crop),
            frame_width=size[1],
            frame_height=size[0],
            image=crop,
        )


def detect_people(
    image: NDArray[np.uint8], detector: Detector, *, name: str, digest: str, frame: int
) -> PersonDetections:
    """Detect people in a frame; boxes outside the frame and repeated boxes are dropped."""
    detections = detector.detect(image)
    boxes = clip_boxes(detections.boxes, (image.shape[0], image.shape[1]))
    rows: dict[str, int] = {}
    for row in np.flatnonzero((boxes[:, 2:] >= MIN_SIDE).all(axis=1)):
        rows.setdefault(crop_id(name, digest, frame, boxes[row]), int(row))
    kept = list(rows.values())
    scores = detections.scores[kept]
    certain = int((scores >= detections.min_score).sum())
    return PersonDetections(
        list(rows), detections.boxes[kept], boxes[kept], scores, certain=certain, min_score=detections.min_score
    )


def detect_still(image: NDArray[np.uint8], detector: Detector, *, name: str, digest: str) -> list[CropCandidate]:
    """Return the crops of all people in a still image (RGB uint8), best first; name and digest are the input's."""
    people = detect_people(image, detector, name=name, digest=digest, frame=STILL)
    return [people.make_candidate(row, image, STILL, None) for row in range(people.certain)]
