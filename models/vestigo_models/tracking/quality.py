"""Motion inside boxes, quality of crops, and selection of the best crops of a tracklet without near-duplicates."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import cv2
import numpy as np

from vestigo_models.arrays import BoolArray, Float32Array, FloatArray, UInt8Array
from vestigo_models.tracking.config import TrackingConfig

WORKING_HEIGHT = 360
MIN_CHANGE = 18
"""Least difference of a changed pixel in grey levels after blurring, above noise and compression."""


class MotionMeter:
    """Compares each sampled frame with the one `motion_s` earlier; it remembers twice that span.

    Motion distinguishes people from static objects under a fixed camera.
    """

    def __init__(self, config: TrackingConfig) -> None:
        self._span = config.cells(config.motion_s)
        self._window: deque[tuple[int, UInt8Array]] = deque()

    def measure(self, cell: int, image: UInt8Array, boxes: FloatArray) -> Float32Array:
        """Return the fraction of changed pixels in each box, (N,), NaN without an earlier frame to compare with.

        `cell` is the number of the frame's time cell, which increases from call to call; boxes, (N, 4), are x, y, w, h
        in pixels of the RGB image.
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, WORKING_HEIGHT / grey.shape[0])
        if scale < 1.0:
            size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        smooth = np.asarray(cv2.GaussianBlur(grey, (5, 5), 0), dtype=np.uint8)
        while self._window and self._window[0][0] < cell - 2 * self._span:
            self._window.popleft()
        earlier = [old for number, old in self._window if number <= cell - self._span and old.shape == smooth.shape]
        self._window.append((cell, smooth))
        if not earlier:
            return np.full(len(boxes), np.nan, dtype=np.float32)
        changed = cv2.absdiff(smooth, earlier[-1]) >= MIN_CHANGE
        height, width = grey.shape
        shares = np.zeros(len(boxes), dtype=np.float32)
        for row, (x, y, w, h) in enumerate(np.asarray(boxes, dtype=np.float64) * scale):
            left, right = np.clip((round(x), round(x + w)), 0, width)
            top, bottom = np.clip((round(y), round(y + h)), 0, height)
            inside = changed[top:bottom, left:right]
            shares[row] = inside.mean() if inside.size else 0.0
        return shares


FULL_HEIGHT = 128.0
"""Height in pixels above which a larger crop is not better."""
HALF_SHARPNESS = 400.0
"""Variance of the Laplacian, in squared grey levels at 128 x 64 pixels, at which sharpness is one half."""
FULL_MOTION = 0.5
"""Fraction of changed pixels in the box of an unoccluded walking person."""
MIN_MOTION = 0.2
"""Least motion factor, for people who stand still without being occluded."""


def size_score(height: float) -> float:
    """Return min(1, height / 128) for a height in pixels."""
    return min(1.0, height / FULL_HEIGHT)


def sharpness_score(crop: UInt8Array) -> float:
    """Return v / (v + 400), with v the variance of the Laplacian of the grey crop resized to 128 x 64."""
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (64, 128), interpolation=cv2.INTER_LINEAR)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    variance = float(deviation[0, 0]) ** 2
    return variance / (variance + HALF_SHARPNESS)


def visibility(box: FloatArray, frame_size: tuple[int, int], others: FloatArray) -> float:
    """Return the fraction of a box inside the frame and not covered by others, on a grid of 32 x 16 points.

    Of two overlapping people, the one whose box ends lower is nearer to the camera and covers the other. Boxes, (4,)
    and (N, 4), are x, y, w, h in pixels, and `frame_size` is height and width.
    """
    x, y, w, h = (float(value) for value in box)
    if w <= 0 or h <= 0:
        return 0.0
    if not len(others) and x >= 0 and y >= 0 and x + w <= frame_size[1] and y + h <= frame_size[0]:
        return 1.0
    xs = x + w * (np.arange(16) + 0.5) / 16
    ys = y + h * (np.arange(32) + 0.5) / 32
    visible = ((ys >= 0) & (ys < frame_size[0]))[:, None] & ((xs >= 0) & (xs < frame_size[1]))[None, :]
    for ox, oy, ow, oh in np.asarray(others, dtype=np.float64).reshape(-1, 4):
        if oy + oh > y + h:
            visible &= ~(((ys >= oy) & (ys < oy + oh))[:, None] & ((xs >= ox) & (xs < ox + ow))[None, :])
    return float(visible.mean())


def crop_quality(
    crop: UInt8Array,
    box: FloatArray,
    frame_size: tuple[int, int],
    others: FloatArray | None = None,
    motion: float = np.nan,
) -> float:
    """Return the quality of a crop in 0..1: sqrt(size * sharpness) * visibility * motion factor.

    Size and sharpness enter as their geometric mean because they are correlated. The box and those of other people are
    described at `visibility`; the box may extend beyond the frame. `motion` is the fraction of its pixels that changed,
    NaN if unknown (stills, first frames of a video). The factor is motion / 0.5, between 0.2 and 1, and 1 for unknown
    motion: an object between camera and person is static and sharp, so only motion indicates such an occlusion.
    """
    visible = visibility(box, frame_size, np.empty((0, 4)) if others is None else others)
    moving = 1.0 if np.isnan(motion) else float(np.clip(motion / FULL_MOTION, MIN_MOTION, 1.0))
    return float(np.sqrt(size_score(float(box[3])) * sharpness_score(crop)) * (visible * moving))


def dhash(crop: UInt8Array) -> int:
    """Return the difference hash of an RGB uint8 crop (h, w, 3) as a signed 64-bit integer.

    Each bit states whether one of 8 x 8 cells is brighter than its right neighbour. Near-duplicates differ in few bits.
    """
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits(grey[:, :-1] > grey[:, 1:])
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def hamming(a: int, b: int) -> int:
    """Return the number of different bits of two 64-bit hashes."""
    return ((a ^ b) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()


T = TypeVar("T")


def bucket_of(offset_s: float, bucket_s: float) -> int:
    """Return the bucket of a time in seconds from the start of the video."""
    return int(np.floor(offset_s / bucket_s))


def best_crops(ids: Sequence[str], quality: Sequence[float], buckets: Sequence[int], count: int) -> list[int]:
    """Return the rows of the at most `count` best bucket winners, best first; arguments have one entry per crop.

    The best crop of each bucket is its winner. Crops are ordered by higher quality, then by smaller crop id.
    """
    winners: dict[int, tuple[float, str, int]] = {}
    for row, (crop, value, bucket) in enumerate(zip(ids, quality, buckets, strict=True)):
        entry = (-value, crop, row)
        winners[bucket] = min(winners.get(bucket, entry), entry)
    return [row for *_, row in sorted(winners.values())[:count]]


@dataclass
class BestCrops(Generic[T]):
    """Selects like `best_crops` from crops in order of time and holds at most `count` + 1 of them.

    The top N of the top N of all parts equal the top N of the whole, so slices select on their own. Proof: let c be one
    of the N best winners of the whole and P the part that contains it. In P, c wins its bucket, because fewer crops
    compete. Each winner of P that is better than c has a bucket of its own, whose winner in the whole is at least as
    good. There are fewer than N such buckets, so P keeps c. Hence the union contains all N, and any other crop in it is
    worse than the winner of its bucket or than all N.
    """

    count: int
    _kept: dict[int, tuple[float, str, T]] = field(default_factory=dict)

    def accepts(self, crop: str, quality: float, bucket: int) -> bool:
        """Return whether `add` would keep this crop for now, so that other crops need not be cut out."""
        rival = self._kept.get(bucket)
        return rival is None or (-quality, crop) < rival[:2]

    def add(self, crop: str, quality: float, bucket: int, image: T) -> None:
        """Add a crop of the current bucket or a later one."""
        if not self.accepts(crop, quality, bucket):
            return
        self._kept[bucket] = (-quality, crop, image)
        # The winner of the current bucket may still change; only those of earlier buckets compete for the N places.
        earlier = [number for number in self._kept if number != bucket]
        if len(earlier) > self.count:
            del self._kept[max(earlier, key=lambda number: self._kept[number][:2])]

    def best(self) -> list[T]:
        """Return the selected crops, best first."""
        return [image for _, _, image in sorted(self._kept.values(), key=lambda kept: kept[:2])[: self.count]]


def near_duplicates(hashes: Sequence[int], max_bits: int) -> BoolArray:
    """Return which crops (n,) differ in at most `max_bits` bits from a better crop that is no near-duplicate itself.

    `hashes` are 64-bit difference hashes, best crop first.
    """
    marked = np.zeros(len(hashes), dtype=np.bool_)
    for row, value in enumerate(hashes):
        marked[row] = any(hamming(value, hashes[better]) <= max_bits for better in np.flatnonzero(~marked[:row]))
    return marked
