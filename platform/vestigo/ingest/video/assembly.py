"""Assemble the slices of a video into tracklets and select their best crops; the result does not depend on slicing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ingest.crops import tracklet_id
from vestigo_models.tracking.association import is_person_track, strongest_third
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.quality import best_crops, bucket_of, near_duplicates

TRACKLET_SCHEMA = pa.schema(
    [
        ("tracklet", pa.string()),
        ("first_frame", pa.int64()),
        ("last_frame", pa.int64()),
        ("first_offset_s", pa.float64()),
        ("last_offset_s", pa.float64()),
        ("detections", pa.int64()),
        ("crops", pa.int64()),
        ("best_crop", pa.string()),
        ("score", pa.float32()),
        ("motion", pa.float32()),
    ]
)
BEST_CROP_SCHEMA = pa.schema(
    [("crop_id", pa.string()), ("tracklet", pa.string()), ("rank", pa.int32()), ("near_duplicate", pa.bool_())]
)


@dataclass(frozen=True)
class VideoTracklets:
    """Tracklets (`TRACKLET_SCHEMA`) by first frame, and their crops (`BEST_CROP_SCHEMA`), best (rank 0) first."""

    rows: pa.Table
    crops: pa.Table


def assemble_tracklets(
    detections: pa.Table, candidates: pa.Table, *, digest: str, config: TrackingConfig
) -> VideoTracklets:
    """Join the links of all slices of a video, keep the tracks of people, and select their best crops.

    Rows are in any order: `DETECTION_SCHEMA`, and at least crop_id, offset_s, quality and dhash of candidates. `config`
    is that at the video's rate.
    """
    table = detections.sort_by([("frame", "ascending"), ("id", "ascending")])
    ids = table["id"].to_pylist()
    tracks = join_tracks(ids, table["predecessor"].to_pylist())
    scores, motion = _column(table, "score"), _column(table, "motion")
    frames, offsets = _column(table, "frame"), _column(table, "offset_s")
    crop_ids = candidates["crop_id"].to_pylist()
    crop_rows = {crop: row for row, crop in enumerate(crop_ids)}
    quality = candidates["quality"].to_pylist()
    hashes = candidates["dhash"].to_pylist()
    buckets = [bucket_of(offset, config.bucket_s) for offset in candidates["offset_s"].to_pylist()]
    rows: list[dict[str, object]] = []
    selected: list[dict[str, object]] = []
    for root, members in tracks.items():
        if not is_person_track(scores[members], motion[members], config):
            continue
        tracklet = tracklet_id(digest, ids[root])
        own = sorted(crop_rows[ids[member]] for member in members if ids[member] in crop_rows)
        kept = best_crops(
            [crop_ids[i] for i in own], [quality[i] for i in own], [buckets[i] for i in own], config.crops_per_tracklet
        )
        best = [own[row] for row in kept]
        repeated = near_duplicates([hashes[i] for i in best], config.near_duplicate_bits)
        selected += [
            {"crop_id": crop_ids[i], "tracklet": tracklet, "rank": rank, "near_duplicate": bool(repeated[rank])}
            for rank, i in enumerate(best)
        ]
        first, last = members[0], members[-1]
        rows.append(
            {
                "tracklet": tracklet,
                "first_frame": frames[first],
                "last_frame": frames[last],
                "first_offset_s": offsets[first],
                "last_offset_s": offsets[last],
                "detections": len(members),
                "crops": len(best),
                "best_crop": crop_ids[best[0]] if best else "",
                "score": strongest_third(scores[members]),
                "motion": strongest_third(motion[members]),
            }
        )
    return VideoTracklets(
        pa.Table.from_pylist(rows, schema=TRACKLET_SCHEMA), pa.Table.from_pylist(selected, schema=BEST_CROP_SCHEMA)
    )


def join_tracks(ids: Sequence[str], predecessors: Sequence[str]) -> dict[int, list[int]]:
    """Return the rows of each track by its first row; detections are in order of time."""
    row_of = {name: row for row, name in enumerate(ids)}
    roots: list[int] = []
    tracks: dict[int, list[int]] = {}
    for row, predecessor in enumerate(predecessors):
        # The predecessor is missing if its slice was quarantined: a new track starts.
        root = roots[row_of[predecessor]] if predecessor in row_of else row
        roots.append(root)
        tracks.setdefault(root, []).append(row)
    return tracks


def _column(table: pa.Table, name: str) -> NDArray[np.floating]:
    return np.asarray(table[name].to_numpy())
