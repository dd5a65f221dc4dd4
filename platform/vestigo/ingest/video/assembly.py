"""The second stage of a video: parts to tracklets. Pure, and the same whatever the slices were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ingest.crops import tracklet_id
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.person_filter import is_person_track, strongest_third
from vestigo_models.tracking.selection import best_crops, bucket_of, near_duplicates

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
PICK_SCHEMA = pa.schema(
    [("crop_id", pa.string()), ("tracklet", pa.string()), ("rank", pa.int32()), ("near_duplicate", pa.bool_())]
)


@dataclass(frozen=True)
class Tracklets:
    """rows: one a tracklet, by first frame; crops: the picked ones, best first (rank 0) within their tracklet."""

    rows: pa.Table
    crops: pa.Table


def assemble(detections: pa.Table, candidates: pa.Table, *, digest: str, config: TrackingConfig) -> Tracklets:
    """Join the links of all parts of a video, keep the tracks that are people, and pick their best crops.

    detections: `DETECTION_SCHEMA`, all parts, in any order; candidates: at least crop_id, offset_s, quality, dhash,
    all parts, in any order; digest: the video's.
    """
    table = detections.sort_by([("frame", "ascending"), ("id", "ascending")])
    ids = table["id"].to_pylist()
    tracks = _tracks(ids, table["predecessor"].to_pylist())
    scores, motion = _column(table, "score"), _column(table, "motion")
    frames, offsets = _column(table, "frame"), _column(table, "offset_s")
    crops_of = _crops_of(ids, tracks, candidates["crop_id"].to_pylist())
    quality = candidates["quality"].to_pylist()
    hashes = candidates["dhash"].to_pylist()
    buckets = [bucket_of(offset, config.bucket_s) for offset in candidates["offset_s"].to_pylist()]
    names = candidates["crop_id"].to_pylist()
    rows: list[dict[str, object]] = []
    picks: list[dict[str, object]] = []
    for root, members in tracks.items():
        if not is_person_track(scores[members], motion[members], config):
            continue
        tracklet = tracklet_id(digest, ids[root])
        own = crops_of.get(root, [])
        chosen = best_crops(
            [names[i] for i in own], [quality[i] for i in own], [buckets[i] for i in own], config.crops_per_tracklet
        )
        best = [own[row] for row in chosen]
        repeated = near_duplicates([hashes[i] for i in best], config.near_duplicate_bits)
        picks += [
            {"crop_id": names[i], "tracklet": tracklet, "rank": rank, "near_duplicate": bool(repeated[rank])}
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
                "best_crop": names[best[0]] if best else "",
                "score": strongest_third(scores[members]),
                "motion": strongest_third(motion[members]),
            }
        )
    return Tracklets(
        pa.Table.from_pylist(rows, schema=TRACKLET_SCHEMA), pa.Table.from_pylist(picks, schema=PICK_SCHEMA)
    )


def _tracks(ids: list[str], predecessors: list[str]) -> dict[int, list[int]]:
    """Rows of each track by its first row; detections come in order of time, so a predecessor is met before."""
    row_of = {name: row for row, name in enumerate(ids)}
    roots: list[int] = []
    tracks: dict[int, list[int]] = {}
    for row, before in enumerate(predecessors):
        # A predecessor whose slice was quarantined is unknown here: the track begins anew.
        root = roots[row_of[before]] if before in row_of else row
        roots.append(root)
        tracks.setdefault(root, []).append(row)
    return tracks


def _crops_of(ids: list[str], tracks: dict[int, list[int]], crops: list[str]) -> dict[int, list[int]]:
    """Rows of `crops` by the track to which they belong."""
    root_of = {ids[row]: root for root, members in tracks.items() for row in members}
    found: dict[int, list[int]] = {}
    for row, crop in enumerate(crops):
        if crop in root_of:
            found.setdefault(root_of[crop], []).append(row)
    return found


def _column(table: pa.Table, name: str) -> NDArray[np.floating]:
    return np.asarray(table[name].to_numpy())


def tracks_of(detections: pa.Table, digest: str) -> dict[str, list[str]]:
    """Ids of the detections of every track, kept or not, by tracklet id, in order of time."""
    table = detections.sort_by([("frame", "ascending"), ("id", "ascending")])
    ids = table["id"].to_pylist()
    tracks = _tracks(ids, table["predecessor"].to_pylist())
    return {tracklet_id(digest, ids[root]): [ids[row] for row in members] for root, members in tracks.items()}
