"""What one slice of a video contributes: its detections with their links, and candidate crops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vestigo.ingest.crops import Candidate, find_people
from vestigo.ingest.video.decode import Frame
from vestigo_models.detection.base import Detector
from vestigo_models.tracking.association import FrameDetections, Linker
from vestigo_models.tracking.color import histograms
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.motion import MotionMeter
from vestigo_models.tracking.person_filter import is_person_track
from vestigo_models.tracking.selection import BestCrops, bucket_of

DETECTION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("frame", pa.int64()),
        ("cell", pa.int64()),
        ("offset_s", pa.float64()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("w", pa.float32()),
        ("h", pa.float32()),
        ("score", pa.float32()),
        ("motion", pa.float32()),
        ("predecessor", pa.string()),
    ]
)
"""One row a detection; motion is NaN where unknown, predecessor "" where none, and may lie in an earlier slice."""


@dataclass(frozen=True)
class Part:
    """Detections that a slice owns, the candidate crops among them, and the number of frames it owns and sampled."""

    detections: pa.Table
    candidates: tuple[Candidate, ...]
    sampled: int


@dataclass
class _Chain:
    """The stretch of a track that this slice sees."""

    crops: BestCrops[Candidate]
    begins_here: bool
    last_cell: int = -1
    scores: list[float] = field(default_factory=list)
    motion: list[float] = field(default_factory=list)


def extract_part(
    frames: Iterable[Frame],
    detector: Detector,
    *,
    name: str,
    digest: str,
    owned: range,
    complete: bool,
    config: TrackingConfig,
) -> Part:
    """Detect, link and cut out the people of a slice.

    frames: sampled frames in order of time, the lead-in first; name, digest: the video's; owned: indices of the
    frames whose detections are returned; complete: the video ends with this slice; config: at the video's rate (see
    `TrackingConfig.at_rate`).

    With a lead-in of `config.lead_s` the detections, links and motion are those of the whole video, whatever the
    slice. Memory: the frames that motion compares, all boxes, and at most `crops_per_tracklet` + 1 crops a chain.
    """
    linker, meter = Linker(config), MotionMeter(config)
    rows: dict[str, list[object]] = {column: [] for column in DETECTION_SCHEMA.names}
    seen: list[tuple[list[str], list[_Chain]]] = []
    chains: list[_Chain] = []
    sampled, end_cell = 0, -1
    for frame in frames:
        people = find_people(frame.image, detector, name=name, digest=digest, frame=frame.index)
        motion = meter.measure(frame.cell, frame.image, people.boxes)
        colours = histograms(frame.image, people.boxes)
        links = linker.push(FrameDetections(frame.cell, people.raw, colours))
        is_owned = frame.index in owned
        sampled, end_cell = sampled + is_owned, frame.cell
        followed: list[_Chain] = []
        for row, (position, earlier) in enumerate(links.tolist()):
            linked = position >= 0
            chain = seen[position][1][earlier] if linked else _Chain(BestCrops(config.crops_per_tracklet), is_owned)
            followed.append(chain)
            chain.last_cell = frame.cell
            chain.scores.append(float(people.scores[row]))
            chain.motion.append(float(motion[row]))
            if not linked:
                chains.append(chain)
            if not is_owned:
                continue
            bucket = bucket_of(frame.offset_s, config.bucket_s)
            candidate = people.candidate(row, frame.image, frame.index, frame.offset_s, float(motion[row]))
            chain.crops.add(candidate.crop_id, candidate.quality, bucket, candidate)
            box = people.boxes[row].tolist()
            before = seen[position][0][earlier] if linked else ""
            values = (people.ids[row], frame.index, frame.cell, frame.offset_s, *box, people.scores[row], motion[row])
            for column, value in zip(rows.values(), (*values, before), strict=True):
                column.append(value)
        seen.append((people.ids, followed))
    last_linkable = end_cell + 1 - config.cells(config.max_gap_s)
    kept = [
        candidate
        for chain in chains
        if not _is_rejected(chain, complete or chain.last_cell < last_linkable, config)
        for candidate in chain.crops.best()
    ]
    kept.sort(key=lambda candidate: (candidate.frame, candidate.crop_id))
    return Part(pa.table(rows, schema=DETECTION_SCHEMA), tuple(kept), sampled)


def _is_rejected(chain: _Chain, ends_here: bool, config: TrackingConfig) -> bool:
    """Whether assembly would reject the tracklet of this chain: known only when all of it lies in this slice."""
    if not (chain.begins_here and ends_here):
        return False
    return not is_person_track(np.array(chain.scores), np.array(chain.motion), config)
