"""Person crops that may be kept: cut out of a frame, judged, named."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo_models.detection.base import Detector
from vestigo_models.tracking.quality import crop_quality, dhash

STILL = -1
"""The frame number of a still image."""


def crop_id(name: str, digest: str, frame: int, box: NDArray[np.floating] | Sequence[float]) -> str:
    """Id of one person crop, and of the detection it was cut from: 20 hex digits.

    name: the input's name inside its source; digest: SHA-256 (hex) of the input's content; frame: decode index, or
    `STILL`; box: x, y, w, h in pixels, taken as float32.
    """
    corners = np.asarray(box, dtype="<f4").reshape(4)
    text = f"{name}\0{digest}\0{frame}\0"
    return hashlib.sha256(text.encode() + corners.tobytes()).hexdigest()[:20]


def whole_image_id(name: str, data: bytes, size: tuple[int, int]) -> str:
    """Id of the crop that an encoded image of `size` (height, width) is in a store that took it for one as a whole."""
    return crop_id(name, hashlib.sha256(data).hexdigest(), STILL, (0, 0, size[1], size[0]))


def tracklet_id(digest: str, first_detection: str) -> str:
    """Id of a tracklet: 20 hex digits from the video's digest and the id of the first detection."""
    return hashlib.sha256(f"{digest}\0{first_detection}".encode()).hexdigest()[:20]


MAX_HEIGHT = 512
"""Taller crops are scaled down when they are cut out: no network looks at more, and a slice holds many of them."""
MIN_SIDE = 2.0
"""Boxes of which less than this (pixels) lies in the frame are dropped."""


@dataclass(frozen=True)
class Candidate:
    """A crop of a person.

    frame: index in the video, -1 for a still; offset_s: seconds from its start, None for a still; box: float32 (4,),
    x, y, w, h in pixels, inside the frame; quality: 0..1; dhash: signed 64 bits; image: RGB uint8 (h, w, 3).
    """

    crop_id: str
    frame: int
    offset_s: float | None
    box: NDArray[np.float32]
    score: float
    quality: float
    dhash: int
    frame_width: int
    frame_height: int
    image: NDArray[np.uint8]


CANDIDATE_SCHEMA = pa.schema(
    [("crop_id", pa.string()), ("offset_s", pa.float64()), ("quality", pa.float32()), ("dhash", pa.int64())]
)


def candidate_table(candidates: Sequence[Candidate]) -> pa.Table:
    """The columns that `assemble` reads."""
    rows = [{name: getattr(candidate, name) for name in CANDIDATE_SCHEMA.names} for candidate in candidates]
    return pa.Table.from_pylist(rows, schema=CANDIDATE_SCHEMA)


def inside_frame(boxes: NDArray[np.floating], frame_size: tuple[int, int]) -> NDArray[np.float32]:
    """Clip boxes (N, 4), x, y, w, h in pixels, to a frame of (height, width) -> float32 (N, 4)."""
    limits = np.array([frame_size[1], frame_size[0]], dtype=np.float32)
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    low = np.clip(corners[:, :2], 0, limits)
    high = np.clip(corners[:, :2] + corners[:, 2:], 0, limits)
    return np.concatenate([low, high - low], axis=1)


def cut_out(image: NDArray[np.uint8], box: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Copy the pixels that a box inside the frame touches, at most `MAX_HEIGHT` high; RGB uint8 (h, w, 3)."""
    x, y, w, h = (float(value) for value in box)
    height, width = image.shape[:2]
    left, top = min(int(x), width - 1), min(int(y), height - 1)
    right, bottom = max(left + 1, min(width, int(np.ceil(x + w)))), max(top + 1, min(height, int(np.ceil(y + h))))
    crop = image[top:bottom, left:right]
    if crop.shape[0] > MAX_HEIGHT:
        scaled = (max(1, round(crop.shape[1] * MAX_HEIGHT / crop.shape[0])), MAX_HEIGHT)
        crop = np.asarray(cv2.resize(crop, scaled, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return crop.copy()


@dataclass(frozen=True)
class People:
    """People of one frame, best first: `raw` boxes as detected, `boxes` inside the frame, (N, 4) float32 both."""

    ids: list[str]
    raw: NDArray[np.float32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def candidate(
        self, row: int, image: NDArray[np.uint8], frame: int, offset_s: float | None, motion: float = np.nan
    ) -> Candidate:
        """Cut out and judge one of them; `motion` as `crop_quality` takes it."""
        crop = cut_out(image, self.boxes[row])
        size = (image.shape[0], image.shape[1])
        others = np.delete(self.raw, row, axis=0)
        return Candidate(
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


def find_people(image: NDArray[np.uint8], detector: Detector, *, name: str, digest: str, frame: int) -> People:
    """Detect people in a frame and name them; boxes that lie outside it, and second copies of a box, are dropped."""
    found = detector.detect(image)
    boxes = inside_frame(found.boxes, (image.shape[0], image.shape[1]))
    rows: dict[str, int] = {}
    for row in np.flatnonzero((boxes[:, 2:] >= MIN_SIDE).all(axis=1)):
        rows.setdefault(crop_id(name, digest, frame, boxes[row]), int(row))
    kept = list(rows.values())
    return People(list(rows), found.boxes[kept], boxes[kept], found.scores[kept])


def detect_still(image: NDArray[np.uint8], detector: Detector, *, name: str, digest: str) -> list[Candidate]:
    """All people of a still image (RGB uint8), best first; name and digest are the input's."""
    people = find_people(image, detector, name=name, digest=digest, frame=STILL)
    return [people.candidate(row, image, STILL, None) for row in range(len(people.ids))]
