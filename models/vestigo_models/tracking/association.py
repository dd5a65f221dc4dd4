"""Linking detections over time, with a finite memory.

A tracker usually carries state from the first frame to the last (Kalman filters, identities), and a video cut into
slices then gives other tracks than the whole. Here a track is nothing but a chain of links, and each link
predecessor -> detection is decided by a bounded window of the past:

1. **Preliminary links** join consecutive cells by the cheapest assignment (Kuhn 1955, as in SORT, Bewley et al.
   2016) of a cost without any velocity. They depend on cells k-1 and k, and serve only to measure velocities.
2. **Links of gap 1** do it again with positions predicted from velocity: the mean displacement along the
   preliminary links of the last V cells. They depend on cells k-1-V .. k.
3. **Links of gap g = 2 .. G** join what is still free: a detection g cells ago without successor and one of now
   without predecessor. Whether the former is free was decided by links of smaller gaps g' into cells k-g+g'.

So the links into cell k depend on D(g) cells before it: D(1) = 1 + V, and D(g), the largest of g + V (velocity of the
earlier detection), D(g') (is the later one free) and g - g' + D(g') (is the earlier one free) over all g' < g, is
g + V. The memory is G + V cells. A slice that starts that much earlier than the frames it owns finds exactly the
links of the whole video, bit for bit, because the very same arrays reach the very same assignment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vestigo_models.tracking.color import hellinger
from vestigo_models.tracking.config import TrackingConfig

UNLINKED = 1.0
"""The price of leaving a pair apart: no dearer link is ever made."""


@dataclass(frozen=True)
class FrameDetections:
    """Detections of one sampled frame, in the detector's order.

    cell: number of the frame's time cell; boxes: (N, 4), x, y, w, h in pixels; appearance: float64 (N, K).
    """

    cell: int
    boxes: NDArray[np.floating]
    appearance: NDArray[np.float64]


@dataclass
class _Seen:
    """A frame inside the window of the linker."""

    position: int
    cell: int
    centres: NDArray[np.float64]  # (N, 2)
    heights: NDArray[np.float64]  # (N,)
    appearance: NDArray[np.float64]  # (N, K)
    free: NDArray[np.bool_]  # (N,) no successor yet
    before: NDArray[np.int64]  # (N,) preliminary predecessor in the previous cell, -1 = none
    velocity: NDArray[np.float64] = field(init=False)  # (N, 2) pixels a cell
    moving: NDArray[np.bool_] = field(init=False)  # (N,) the velocity is known


class Linker:
    """Takes frames in order of time and tells each detection's predecessor; remembers `config.memory` cells."""

    def __init__(self, config: TrackingConfig) -> None:
        self.config = config
        self._gaps = config.cells(config.max_gap_s)
        self._span = config.cells(config.velocity_s)
        self._window: deque[_Seen] = deque()
        self._pushed = 0

    def push(self, frame: FrameDetections) -> NDArray[np.int64]:
        """Link one frame to the past.

        Returns int64 (N, 2): for each detection the predecessor's frame (counted in calls of `push`, from 0) and
        its row in that frame; -1, -1 where there is none.
        """
        boxes = np.asarray(frame.boxes, dtype=np.float64).reshape(-1, 4)
        now = _Seen(
            position=self._pushed,
            cell=frame.cell,
            centres=boxes[:, :2] + boxes[:, 2:] / 2,
            heights=np.maximum(boxes[:, 3], 1.0),
            appearance=frame.appearance,
            free=np.ones(len(boxes), dtype=np.bool_),
            before=np.full(len(boxes), -1, dtype=np.int64),
        )
        self._pushed += 1
        while self._window and self._window[0].cell < now.cell - self.config.memory:
            self._window.popleft()
        past = {seen.cell: seen for seen in self._window}
        if (last := past.get(now.cell - 1)) is not None:
            tails, heads = self._assign(last, np.arange(len(last.free)), now, np.arange(len(boxes)), predict=False)
            now.before[heads] = tails
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

    def _velocities(self, now: _Seen, past: dict[int, _Seen]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        velocity = np.zeros((len(now.free), 2))
        moving = np.zeros(len(now.free), dtype=np.bool_)
        for row in range(len(now.free)):
            at, index, steps = now, row, 0
            while steps < self._span and at.before[index] >= 0:
                index = int(at.before[index])
                at = past[at.cell - 1]
                steps += 1
            if steps:
                velocity[row] = (now.centres[row] - at.centres[index]) / steps
                moving[row] = True
        return velocity, moving

    def _assign(
        self, then: _Seen, tails: NDArray[np.intp], now: _Seen, heads: NDArray[np.intp], *, predict: bool
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The cheapest assignment of rows `tails` of an earlier frame to rows `heads` of this one."""
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
        # Every part of the cost is 1 where its gate closes.
        height = (then.heights[tails][:, None] + now.heights[heads][None, :]) / 2
        offset = now.centres[heads][None, :, :] - expected[:, None, :]
        distance = np.hypot(offset[..., 0], offset[..., 1]) / (height * (config.jitter + speed * seconds)[:, None])
        ratio = np.log(now.heights[heads][None, :] / then.heights[tails][:, None])
        size = np.abs(ratio) / np.log(config.max_size_ratio)
        look = hellinger(then.appearance[tails], now.appearance[heads]) / config.max_appearance
        cost = 0.4 * distance + 0.2 * size + 0.4 * look
        closed = (distance >= 1.0) | (size >= 1.0) | (look >= 1.0)
        cost[closed] = UNLINKED
        rows, columns = linear_sum_assignment(cost)
        made = cost[rows, columns] < UNLINKED
        return tails[rows[made]], heads[columns[made]]


def link(frames: Iterable[FrameDetections], config: TrackingConfig) -> list[NDArray[np.int64]]:
    """Predecessors of all detections of frames in order of time; see `Linker.push` for the arrays."""
    linker = Linker(config)
    return [linker.push(frame) for frame in frames]
