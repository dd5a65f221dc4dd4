"""Process one slice of a video: detections with their links, and crop candidates."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vestigo.ingest.crops import CropCandidate, detect_people
from vestigo.ingest.video.decode import SampledFrame
from vestigo_models.detection.base import Detector
from vestigo_models.tracking.association import FrameDetections, Linker, histograms, is_person_track
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.quality import BestCrops, MotionMeter, bucket_of

DETECTION_SCHEMA = pa.schema(
    [("id", pa.string()), ("frame", pa.int64()), ("cell", pa.int64()), ("offset_s", pa.float64())]
    + [(name, pa.float32()) for name in ("x", "y", "w", "h", "score", "motion")]
    + [("predecessor", pa.string())]
)
"""Motion is NaN where unknown; predecessor is "" without one, and can be in an earlier slice."""


@dataclass(frozen=True)
class SliceResult:
    """Detections (`DETECTION_SCHEMA`) in the frames that a slice owns, their crops, and the count of these frames."""

    detections: pa.Table
    candidates: tuple[CropCandidate, ...]
    sampled: int


@dataclass
class _Chain:
    """The part of a track that is in this slice."""

    crops: BestCrops[CropCandidate]
    begins_here: bool
    last_cell: int = -1
    scores: list[float] = field(default_factory=list)
    motion: list[float] = field(default_factory=list)


def process_slice(
    frames: Iterable[SampledFrame],
    detector: Detector,
    *,
    name: str,
    digest: str,
    owned: range,
    complete: bool,
    config: TrackingConfig,
) -> SliceResult:
    """Detect, link and cut out the people of a slice.

    With a lead-in of `config.lead_s` the detections, links and motion do not depend on slicing. Memory is the frames
    that motion compares, all boxes, and at most `crops_per_tracklet` + 1 crops of each track.

    `frames` are in order of time, lead-in first; `owned` are the indices of those whose detections are returned. The
    video is `complete` if it ends with this slice; `config` is that at its rate (see `TrackingConfig.at_rate`).
    """
    linker, meter = Linker(config), MotionMeter(config)
    columns: dict[str, list[object]] = {column: [] for column in DETECTION_SCHEMA.names}
    earlier_frames: list[tuple[list[str], list[_Chain]]] = []
    chains: list[_Chain] = []
    sampled, end_cell = 0, -1
    for frame in frames:
        people = detect_people(frame.image, detector, name=name, digest=digest, frame=frame.index)
        motion = meter.measure(frame.cell, frame.image, people.boxes)
        links = linker.push(FrameDetections(frame.cell, people.raw, histograms(frame.image, people.boxes)))
        is_owned = frame.index in owned
        sampled, end_cell = sampled + is_owned, frame.cell
        frame_chains: list[_Chain] = []
        for row, (position, earlier) in enumerate(links.tolist()):
            if position >= 0:
                earlier_ids, earlier_chains = earlier_frames[position]
                predecessor, chain = earlier_ids[earlier], earlier_chains[earlier]
            else:
                predecessor, chain = "", _Chain(BestCrops(config.crops_per_tracklet), is_owned)
                chains.append(chain)
            frame_chains.append(chain)
            chain.last_cell = frame.cell
            chain.scores.append(float(people.scores[row]))
            chain.motion.append(float(motion[row]))
            if not is_owned:
                continue
            bucket = bucket_of(frame.offset_s, config.bucket_s)
            candidate = people.make_candidate(row, frame.image, frame.index, frame.offset_s, float(motion[row]))
            chain.crops.add(candidate.crop_id, candidate.quality, bucket, candidate)
            box = people.boxes[row].tolist()
            values = (people.ids[row], frame.index, frame.cell, frame.offset_s, *box, people.scores[row], motion[row])
            for column, value in zip(columns.values(), (*values, predecessor), strict=True):
                column.append(value)
        earlier_frames.append((people.ids, frame_chains))
    last_linkable = end_cell + 1 - config.cells(config.max_gap_s)
    candidates: list[CropCandidate] = []
    for chain in chains:
        # Assembly judges tracks of several slices.
        is_whole = chain.begins_here and (complete or chain.last_cell < last_linkable)
        if not is_whole or is_person_track(np.array(chain.scores), np.array(chain.motion), config):
            candidates += chain.crops.best()
    candidates.sort(key=lambda candidate: (candidate.frame, candidate.crop_id))
    return SliceResult(pa.table(columns, schema=DETECTION_SCHEMA), tuple(candidates), sampled)
