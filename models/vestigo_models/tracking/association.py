"""Links between detections over time, in bounded memory (docs/method.md, "Tracking in bounded memory").

A tracklet is a chain of links, and each link depends on a bounded window of the past:

1. **Preliminary links** join cells k-1 and k by the cheapest assignment (Kuhn, 1955; SORT, Bewley et al., 2016) without
   velocity. They only serve to measure velocities.
2. **Links of gap 1** use positions predicted from velocity, the mean displacement along the preliminary links of the
   last V cells. They depend on cells k-1-V to k.
3. **Links of gap g = 2 to G** join a detection g cells ago without successor and a current one without predecessor.
   Whether the earlier one is free depends on links of smaller gaps g' into cells k-g+g'.

Links into cell k depend on the D(g) cells before it. D(1) = 1 + V. D(g) = g + V is the largest of g + V (velocity of
the earlier detection), D(g') (whether the later one is free) and g - g' + D(g') (whether the earlier one is free) over
g' < g. So the memory is G + V cells, and a slice that starts this much before its own frames finds the links of the
whole video, bit for bit, because the same arrays enter the same assignments.
"""

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vestigo_models.arrays import BoolArray, Float64Array, FloatArray, Int64Array, UInt8Array
from vestigo_models.tracking.config import TrackingConfig

BINS = 6
STRIPES = ((0.15, 0.50), (0.50, 0.90))
"""Upper and lower body, as fractions of the height; only the middle 60 % of the width counts."""


def histograms(image: UInt8Array, boxes: FloatArray) -> Float64Array:
    """Compute square roots of two normalised RGB histograms for each box, of upper and lower body, at half weight each.

    Boxes, (N, 4), are x, y, w, h in pixels of the RGB image. The result is (N, 432), with rows of length 1, or zero for
    a box outside the frame.
    """
    height, width = image.shape[:2]
    rows = np.zeros((len(boxes), len(STRIPES) * BINS**3), dtype=np.float64)
    for row, (x, y, w, h) in zip(rows, np.asarray(boxes, dtype=np.float64), strict=True):
        left, right = np.clip((round(x + 0.2 * w), round(x + 0.8 * w)), 0, width)
        for stripe, (top, bottom) in enumerate(STRIPES):
            low, high = np.clip((round(y + top * h), round(y + bottom * h)), 0, height)
            patch = image[low:high, left:right]
            if patch.size == 0:
                continue
            counts = cv2.calcHist([patch], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).astype(np.float64).ravel()
            share = counts / counts.sum() / len(STRIPES)
            row[stripe * BINS**3 : (stripe + 1) * BINS**3] = np.sqrt(share)
    return rows


def hellinger(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return the Hellinger distance sqrt(1 - a . b) of every pair of rows of `histograms`, (N, M), 0..1."""
    # Not `a @ b.T`: the order of summation in BLAS may depend on the number of rows, and links must not.
    overlap = (a[:, None, :] * b[None, :, :]).sum(axis=-1)
    return np.asarray(np.sqrt(np.clip(1.0 - overlap, 0.0, 1.0)))


UNLINKED = 1.0
"""Cost of an unlinked pair; links of higher cost are not made."""


@dataclass(frozen=True)
class FrameDetections:
    """Detections of one sampled frame, in the detector's order."""

    cell: int  # number of the frame's time cell
    boxes: FloatArray  # (N, 4), x, y, w, h in pixels
    histograms: Float64Array  # (N, bins), see `histograms`


@dataclass
class _WindowFrame:
    """A frame in the window of the linker."""

    position: int
    cell: int
    centres: Float64Array  # (N, 2)
    heights: Float64Array  # (N,)
    histograms: Float64Array  # (N, bins)
    free: BoolArray  # (N,) no successor yet
    preliminary: Int64Array  # (N,) preliminary predecessor in the previous cell, -1 for none
    velocity: Float64Array = field(init=False)  # (N, 2) pixels per cell
    moving: BoolArray = field(init=False)  # (N,) whether the velocity is known


class Linker:
    """Links detections of frames in order of time; it remembers `config.memory` cells."""

    def __init__(self, config: TrackingConfig) -> None:
        self.config = config
        self._gaps = config.cells(config.max_gap_s)
        self._span = config.cells(config.velocity_s)
        self._window: deque[_WindowFrame] = deque()
        self._pushed = 0

    def push(self, frame: FrameDetections) -> Int64Array:
        """Link the N detections of the next frame to earlier ones.

        Return for each detection the frame of its predecessor (number of the call of `push`, from 0) and the row in
        that frame, (N, 2); -1, -1 without predecessor.
        """
        boxes = np.asarray(frame.boxes, dtype=np.float64).reshape(-1, 4)
        now = _WindowFrame(
            position=self._pushed,
            cell=frame.cell,
            centres=boxes[:, :2] + boxes[:, 2:] / 2,
            heights=np.maximum(boxes[:, 3], 1.0),
            histograms=frame.histograms,
            free=np.ones(len(boxes), dtype=np.bool_),
            preliminary=np.full(len(boxes), -1, dtype=np.int64),
        )
        self._pushed += 1
        while self._window and self._window[0].cell < now.cell - self.config.memory:
            self._window.popleft()
        past = {frame.cell: frame for frame in self._window}
        if (last := past.get(now.cell - 1)) is not None:
            tails, heads = self._assign(last, np.arange(len(last.free)), now, np.arange(len(boxes)), predict=False)
            now.preliminary[heads] = tails
        now.velocity, now.moving = self._velocities(now, past)

        predecessors = np.full((len(boxes), 2), -1, dtype=np.int64)
        for gap in range(1, self._gaps + 1):
            if (then := past.get(now.cell - gap)) is None:
                continue
            free_tails, free_heads = np.flatnonzero(then.free), np.flatnonzero(predecessors[:, 0] < 0)
            tails, heads = self._assign(then, free_tails, now, free_heads, predict=True)
            then.free[tails] = False
            predecessors[heads, 0] = then.position
            predecessors[heads, 1] = tails
        self._window.append(now)
        return predecessors

    def _velocities(self, now: _WindowFrame, past: dict[int, _WindowFrame]) -> tuple[Float64Array, BoolArray]:
        velocity = np.zeros((len(now.free), 2))
        for row in range(len(now.free)):
            frame, index, steps = now, row, 0
            while steps < self._span and frame.preliminary[index] >= 0:
                index = int(frame.preliminary[index])
                frame = past[frame.cell - 1]
                steps += 1
            velocity[row] = (now.centres[row] - frame.centres[index]) / max(steps, 1)
        return velocity, now.preliminary >= 0

    def _assign(
        self, then: _WindowFrame, tails: NDArray[np.intp], now: _WindowFrame, heads: NDArray[np.intp], *, predict: bool
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if not len(tails) or not len(heads):
            return tails[:0], heads[:0]
        config = self.config
        gap = now.cell - then.cell
        seconds = gap / config.fps
        expected = then.centres[tails]
        speed = np.full(len(tails), config.free_speed)
        if predict:
            expected = expected + then.velocity[tails] * gap
            speed[then.moving[tails]] = config.known_speed_error
        # Distance and size are 1 at their limits.
        height = (then.heights[tails][:, None] + now.heights[heads][None, :]) / 2
        offset = now.centres[heads][None, :, :] - expected[:, None, :]
        distance = np.hypot(offset[..., 0], offset[..., 1]) / (height * (config.jitter + speed * seconds)[:, None])
        ratio = np.log(now.heights[heads][None, :] / then.heights[tails][:, None])
        size = np.abs(ratio) / np.log(config.max_size_ratio)
        appearance = hellinger(then.histograms[tails], now.histograms[heads])
        cost = 0.4 * distance + 0.2 * size + 0.4 * appearance / config.max_appearance
        max_appearance = config.max_step_appearance if gap == 1 else config.max_appearance
        cost[(distance >= 1.0) | (size >= 1.0) | (appearance >= max_appearance)] = UNLINKED
        rows, columns = linear_sum_assignment(cost)
        is_link = cost[rows, columns] < UNLINKED
        return tails[rows[is_link]], heads[columns[is_link]]


def strongest_third(values: FloatArray) -> float:
    """Return the mean of the largest third of the values (at least one), without NaN; NaN if no value remains.

    Unlike the mean it tolerates occlusion and standing still, and unlike the maximum it tolerates single outliers.
    """
    known = np.sort(np.asarray(values, dtype=np.float64)[~np.isnan(values)])[::-1]
    return float(known[: -(-len(known) // 3)].mean()) if len(known) else float("nan")


def is_person_track(scores: FloatArray, motion: FloatArray, config: TrackingConfig) -> bool:
    """Return whether a chain of detections with `scores` (n,) is kept as a tracklet.

    `motion` are fractions of changed pixels, (n,); if all are NaN (a video of less than a second), it is not tested.
    """
    if len(scores) < config.min_detections or strongest_third(scores) < config.min_score:
        return False
    return not strongest_third(motion) < config.min_motion
