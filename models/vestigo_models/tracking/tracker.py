"""Tracklets from detections by motion, appearance and low scores (docs/method.md, "Tracking").

Follows ByteTrack (Zhang et al., ECCV 2022): confident detections are assigned first, and the tracks that remain are
continued by detections of low score. The cost of the first assignment joins motion with appearance, as DeepSORT does
(Wojke et al., ICIP 2017), and positions are corrected for the motion of the camera, as BoT-SORT does (Aharon et al.,
2022).
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from vestigo_models.arrays import BoolArray, Float32Array, Float64Array, FloatArray, Int64Array
from vestigo_models.detection.base import iou_matrix
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.tracking.camera import apply_motion, motion_scale
from vestigo_models.tracking.config import TrackingConfig

UNLINKED = 1e3
"""Cost of a pair that is never assigned."""
WEIGHTS = (0.3, 0.2, 0.5)
"""Weights of distance, size and appearance in the cost; each is 1 at its limit."""
GAP_COST = 0.5
"""Cost of each second without detection beyond one cell."""
MAX_OVERLAP = 0.2
"""Largest IoU with another person at which a detection's embedding is remembered."""


@dataclass(frozen=True)
class FrameDetections:
    """N detections of one sampled frame, best first. The first S of them are certain; the others have low scores."""

    cell: int  # number of the frame's time cell
    boxes: FloatArray  # (N, 4), x, y, w, h in pixels
    scores: FloatArray  # (N,), 0..1
    appearance: Descriptors  # embeddings of the S certain detections
    min_score: float = 0.0  # least score of a certain detection
    camera: Float64Array | None = None  # (2, 3), from the previous frame's positions to this one's; None for a still


@dataclass(eq=False)
class _Track:
    """A person who is followed; positions are those in the current frame."""

    number: int
    size: Float64Array  # (2,), width and height of the last box
    path: deque[tuple[int, Float64Array]] = field(default_factory=deque)  # cells and centres of the last seconds
    appearance: deque[Descriptors] = field(default_factory=deque)
    weak_since: int | None = None  # cell of the first of the last detections if these have low scores

    @property
    def cell(self) -> int:
        return self.path[-1][0]

    def velocity(self) -> Float64Array | None:
        """Return the mean displacement per cell, or None if the person was seen once."""
        (first, start), (last, end) = self.path[0], self.path[-1]
        return None if first == last else (end - start) / (last - first)

    def predicted(self, cell: int) -> Float64Array:
        """Return the expected centre in a cell."""
        velocity = self.velocity()
        centre = self.path[-1][1]
        return centre if velocity is None else centre + velocity * (cell - self.cell)


class Tracker:
    """Numbers the people of a video, frame after frame.

    It remembers the people of the last `max_gap_s`: of each, a second of positions and `appearance_memory` embeddings.
    """

    def __init__(self, config: TrackingConfig) -> None:
        self.config = config
        self._tracks: list[_Track] = []
        self._started = 0

    def push(self, frame: FrameDetections) -> Int64Array:
        """Return the number of the track of each of the N detections of the next frame, (N,).

        Numbers count from 0 in the order in which tracks start. A detection that no track takes has -1: its score is
        too low to start one.
        """
        config = self.config
        boxes = np.asarray(frame.boxes, dtype=np.float64).reshape(-1, 4)
        gaps = config.cells(config.max_gap_s)
        self._tracks = [track for track in self._tracks if frame.cell - track.cell <= gaps]
        if frame.camera is not None:
            self._follow_camera(frame.camera)
        certain = list(range(len(frame.appearance)))
        taken = self._assign(self._tracks, certain, self._costs(frame, boxes))
        waiting = [track for track in self._tracks if track not in taken.values() and self._is_visible(track, frame)]
        weak = list(range(len(certain), len(boxes)))
        taken |= self._assign(waiting, weak, self._weak_costs(waiting, frame.cell, boxes[weak]))
        for row in certain:
            if row not in taken and frame.scores[row] >= frame.min_score + config.start_margin:
                taken[row] = _Track(self._started, boxes[row, 2:])
                self._tracks.append(taken[row])
                self._started += 1
        overlaps = iou_matrix(boxes[certain], boxes[certain]) * (1 - np.eye(len(certain)))
        is_apart = overlaps.max(axis=1, initial=0.0) < MAX_OVERLAP
        numbers = np.full(len(boxes), -1, dtype=np.int64)
        for row, track in taken.items():
            self._extend(track, frame, row, boxes[row], is_apart)
            numbers[row] = track.number
        return numbers

    def _follow_camera(self, camera: Float64Array) -> None:
        scale = motion_scale(camera)
        for track in self._tracks:
            track.size = track.size * scale
            track.path = deque((cell, apply_motion(camera, centre)) for cell, centre in track.path)

    def _is_visible(self, track: _Track, frame: FrameDetections) -> bool:
        """Return whether a detection of low score may continue the track: it was seen a cell ago, and not long so."""
        limit = self.config.cells(self.config.max_gap_s)
        return track.cell == frame.cell - 1 and (track.weak_since is None or frame.cell - track.weak_since < limit)

    def _costs(self, frame: FrameDetections, boxes: Float64Array) -> Float64Array:
        """Return the costs (T, S) of the tracks and the certain detections."""
        config = self.config
        count = len(frame.appearance)
        centres, heights = boxes[:count, :2] + boxes[:count, 2:] / 2, np.maximum(boxes[:count, 3], 1.0)
        costs = np.empty((len(self._tracks), count))
        for row, track in enumerate(self._tracks if count else []):
            seconds = (frame.cell - track.cell) / config.fps
            height = max(track.size[1], 1.0)
            speed = config.free_speed if track.velocity() is None else config.known_speed_error
            offset = np.linalg.norm(centres - track.predicted(frame.cell), axis=1)
            distance = offset / ((heights + height) / 2 * (config.jitter + speed * seconds))
            size = np.abs(np.log(heights / height)) / np.log(config.max_size_ratio)
            known = Descriptors.joined(list(track.appearance))
            appearance = part_visible_distance(known, frame.appearance).mean(axis=0) / config.max_appearance
            terms = np.stack([distance, size, appearance])
            cost = np.tensordot(WEIGHTS, terms, axes=1) + GAP_COST * (seconds - 1 / config.fps)
            costs[row] = np.where((terms < 1.0).all(axis=0), cost, UNLINKED)
        return costs

    def _weak_costs(self, tracks: list[_Track], cell: int, boxes: Float64Array) -> Float64Array:
        """Return the costs (T, N) of tracks and detections of low score: 1 - IoU with the predicted box."""
        predicted = [np.concatenate([track.predicted(cell) - track.size / 2, track.size]) for track in tracks]
        overlaps = iou_matrix(np.reshape(predicted, (-1, 4)), boxes)
        return np.where(overlaps >= self.config.min_weak_iou, 1.0 - overlaps, UNLINKED)

    def _assign(self, tracks: list[_Track], rows: list[int], costs: Float64Array) -> dict[int, _Track]:
        """Return the track of each assigned row, by the cheapest assignment (Kuhn, 1955)."""
        links = zip(*linear_sum_assignment(costs), strict=True)
        return {rows[head]: tracks[tail] for tail, head in links if costs[tail, head] < UNLINKED}

    def _extend(self, track: _Track, frame: FrameDetections, row: int, box: Float64Array, is_apart: BoolArray) -> None:
        track.size = box[2:]
        track.path.append((frame.cell, box[:2] + box[2:] / 2))
        while track.path[0][0] < frame.cell - self.config.cells(self.config.velocity_s):
            track.path.popleft()
        if row >= len(is_apart):
            track.weak_since = frame.cell if track.weak_since is None else track.weak_since
            return
        track.weak_since = None
        if is_apart[row] or not track.appearance:
            track.appearance.append(frame.appearance[np.array([row])])
            if len(track.appearance) > self.config.appearance_memory:
                track.appearance.popleft()


def strongest_third(values: FloatArray) -> float:
    """Return the mean of the largest third of the values (at least one), without NaN; NaN if no value remains.

    Unlike the mean it tolerates occlusion and standing still, and unlike the maximum it tolerates single outliers.
    """
    known = np.sort(np.asarray(values, dtype=np.float64)[~np.isnan(values)])[::-1]
    return float(known[: -(-len(known) // 3)].mean()) if len(known) else float("nan")


def is_person_track(scores: FloatArray, motion: FloatArray, config: TrackingConfig) -> bool:
    """Return whether a track of detections with `scores` (n,) is kept as a tracklet.

    `motion` are fractions of changed pixels, (n,); if all are NaN (a video of less than a second), it is not tested.
    """
    if len(scores) < config.min_detections or strongest_third(scores) < config.min_score:
        return False
    return not strongest_third(motion) < config.min_motion


def link_positions(then: Float32Array, now: Float32Array, config: TrackingConfig) -> Int64Array:
    """Link the people of two successive cells by position alone.

    Args:
        then: Boxes of the earlier cell, (M, 4), x, y, w, h in pixels.
        now: Boxes of the later cell, (N, 4).
        config: Limits of speed and size.

    Returns:
        The row of the predecessor of each later box, (N,), -1 for none.
    """
    earlier, later = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (then, now))
    predecessors = np.full(len(later), -1, dtype=np.int64)
    heights = np.maximum((earlier[:, None, 3] + later[None, :, 3]) / 2, 1.0)
    centres = [boxes[:, :2] + boxes[:, 2:] / 2 for boxes in (earlier, later)]
    offset = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1)
    distance = offset / (heights * (config.jitter + config.free_speed / config.fps))
    ratio = np.log(np.maximum(later[None, :, 3], 1.0) / np.maximum(earlier[:, None, 3], 1.0))
    is_near = (distance < 1.0) & (np.abs(ratio) < np.log(config.max_size_ratio))
    tails, heads = linear_sum_assignment(np.where(is_near, distance, UNLINKED))
    kept = is_near[tails, heads]
    predecessors[heads[kept]] = tails[kept]
    return predecessors
