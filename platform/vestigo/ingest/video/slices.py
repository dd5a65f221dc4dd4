"""Process one slice of a video: sampled frames with their detections, and crop candidates."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ingest.crops import CropCandidate, detect_people
from vestigo.ingest.video.decode import SampledFrame
from vestigo_models.detection.base import Detector
from vestigo_models.inference.distance import Descriptors
from vestigo_models.tracking.appearance import BATCH, Embed
from vestigo_models.tracking.camera import CameraMeter
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.quality import BestCrops, MotionMeter, bucket_of
from vestigo_models.tracking.tracker import link_positions

FRAME_SCHEMA = pa.schema(
    [
        ("frame", pa.int64()),
        ("cell", pa.int64()),
        ("offset_s", pa.float64()),
        (
            "camera_motion",
            pa.list_(pa.float64()),
        ),  # 2 x 3, from the previous sampled frame to this one; null for a still
        ("min_score", pa.float64()),  # of a certain detection
        # The N detections, best first; the first S of them are certain.
        ("ids", pa.list_(pa.string())),
        ("raw", pa.list_(pa.float32())),  # N x 4, boxes of the detector
        ("boxes", pa.list_(pa.float32())),  # N x 4, the same inside the frame
        ("scores", pa.list_(pa.float32())),
        ("motion", pa.list_(pa.float32())),  # NaN where unknown
        ("links", pa.list_(pa.int64())),  # S, rows of the same fragment in the previous cell, -1 for none
        ("vectors", pa.list_(pa.float16())),  # S x D, rounded, descriptors of `vestigo_models.tracking.appearance`
        ("visible", pa.list_(pa.bool_())),  # S x (K-1)
        ("always", pa.int32()),
    ]
)
FRAGMENT_BUCKETS = 16


@dataclass(frozen=True)
class SliceResult:
    """The sampled frames that a slice owns (`FRAME_SCHEMA`), in order, and their crops."""

    frames: pa.Table
    candidates: tuple[CropCandidate, ...]


def fragment_window(offset_s: float, config: TrackingConfig) -> int:
    """Return the number of the span of time at whose end fragments end.

    A fragment are detections that positions join from cell to cell. Slices keep the best crops of each fragment,
    because tracklets are only known when the whole video is assembled.
    """
    return bucket_of(offset_s, config.bucket_s) // FRAGMENT_BUCKETS


def process_slice(
    frames: Iterable[SampledFrame],
    detector: Detector,
    embed: Embed,
    *,
    name: str,
    digest: str,
    owned: range,
    config: TrackingConfig,
) -> SliceResult:
    """Detect the people of a slice, embed them, and cut out the best crops of each fragment.

    With a lead-in of `config.lead_s` the frames do not depend on slicing. Memory is the images that motion compares, a
    batch of crops, the detections, and at most `crops_per_tracklet` + 1 crops of each fragment.

    `frames` are in order of time, lead-in first; `owned` are the indices of those that are returned. `config` is that
    at the video's rate (see `TrackingConfig.at_rate`).
    """
    meter, camera_meter = MotionMeter(config), CameraMeter()
    appearance = _Appearance(embed)
    columns: dict[str, list[object]] = {column: [] for column in FRAME_SCHEMA.names}
    fragments: list[BestCrops[CropCandidate]] = []
    previous_cell, previous_window = -1, -1
    previous_boxes: NDArray[np.float32] = np.empty((0, 4), dtype=np.float32)
    previous_fragments: list[BestCrops[CropCandidate]] = []
    for frame in frames:
        people = detect_people(frame.image, detector, name=name, digest=digest, frame=frame.index)
        motion = meter.measure(frame.cell, frame.image, people.boxes)
        camera = camera_meter.measure(frame.image)
        boxes = people.raw[: people.certain]
        window = fragment_window(frame.offset_s, config)
        is_joined = previous_cell == frame.cell - 1 and previous_window == window
        links = link_positions(previous_boxes if is_joined else previous_boxes[:0], boxes, config)
        joined = [previous_fragments[link] if link >= 0 else BestCrops(config.crops_per_tracklet) for link in links]
        fragments += [fragment for fragment, link in zip(joined, links, strict=True) if link < 0]
        previous_cell, previous_window, previous_boxes, previous_fragments = frame.cell, window, boxes, joined
        if frame.index not in owned:
            continue
        bucket = bucket_of(frame.offset_s, config.bucket_s)
        crops = [
            people.make_candidate(row, frame.image, frame.index, frame.offset_s, float(motion[row]))
            for row in range(people.certain)
        ]
        for candidate, fragment in zip(crops, joined, strict=True):
            fragment.add(candidate.crop_id, candidate.quality, bucket, candidate)
        appearance.add([candidate.image for candidate in crops])
        flat = None if camera is None else camera.ravel()
        arrays = people.raw.ravel(), people.boxes.ravel(), people.scores, motion, links
        values = (frame.index, frame.cell, frame.offset_s, flat, people.min_score, people.ids, *arrays)
        for column, value in zip(columns.values(), values, strict=False):
            column.append(value)
    for descriptors in appearance.of_frames():
        columns["vectors"].append(descriptors.vectors.astype(np.float16).ravel())
        columns["visible"].append(descriptors.visible.ravel())
        columns["always"].append(descriptors.always)
    candidates = [candidate for fragment in fragments for candidate in fragment.best()]
    candidates.sort(key=lambda candidate: (candidate.frame, candidate.crop_id))
    return SliceResult(pa.table(columns, schema=FRAME_SCHEMA), tuple(candidates))


class _Appearance:
    """Embeds the crops of frames in whole batches."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._waiting: list[NDArray[np.uint8]] = []
        self._parts: list[Descriptors] = []
        self._counts: list[int] = []

    def add(self, crops: list[NDArray[np.uint8]]) -> None:
        """Add the crops of the next frame."""
        self._counts.append(len(crops))
        self._waiting += crops
        while len(self._waiting) >= BATCH:
            self._parts.append(self._embed(self._waiting[:BATCH]))
            del self._waiting[:BATCH]

    def of_frames(self) -> list[Descriptors]:
        """Return the descriptors of each frame."""
        descriptors = Descriptors.joined([*self._parts, self._embed(self._waiting)])
        ends = np.cumsum(self._counts)
        return [descriptors[end - count : end] for end, count in zip(ends, self._counts, strict=True)]
