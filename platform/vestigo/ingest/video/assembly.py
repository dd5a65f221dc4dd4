"""Assemble the slices of a video into tracklets and select their best crops; the result does not depend on slicing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vestigo.ingest.crops import tracklet_id
from vestigo_models.arrays import BoolArray, Float64Array, Int64Array
from vestigo_models.inference.distance import Descriptors
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.quality import best_crops, bucket_of, near_duplicates
from vestigo_models.tracking.tracker import FrameDetections, Tracker, is_person_track, strongest_third

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
DETECTION_SCHEMA = pa.schema(
    [("id", pa.string()), ("frame", pa.int64()), ("cell", pa.int64()), ("offset_s", pa.float64())]
    + [(name, pa.float32()) for name in ("x", "y", "w", "h", "score", "motion")]
    + [("predecessor", pa.string()), ("tracklet", pa.string())]
)
"""Motion is NaN where unknown. `predecessor` is the detection before it in its tracklet, "" for the first; both it and
`tracklet` are "" for a detection that no tracklet holds."""


@dataclass(frozen=True)
class VideoTracklets:
    """What is stored of a video.

    Tracklets (`TRACKLET_SCHEMA`) by first frame, their crops (`BEST_CROP_SCHEMA`), best (rank 0) first, and the
    detections (`DETECTION_SCHEMA`) in order of time; uncertain ones only if a tracklet holds them.
    """

    rows: pa.Table
    crops: pa.Table
    detections: pa.Table


def assemble_tracklets(
    batches: Iterable[pa.RecordBatch], candidates: pa.Table, *, digest: str, config: TrackingConfig
) -> VideoTracklets:
    """Track the people of a video, keep the tracks of people, and select their best crops.

    Memory is the detections without their embeddings, which are read batch by batch.

    Args:
        batches: The sampled frames of all slices (`FRAME_SCHEMA`), in order of time.
        candidates: At least crop_id, offset_s, quality and dhash, in any order.
        digest: That of the video.
        config: The configuration at the video's rate.
    """
    table, fragments = _track(batches, config)
    ids = table["id"].to_pylist()
    scores, motion = _column(table, "score"), _column(table, "motion")
    frames, offsets = _column(table, "frame"), _column(table, "offset_s")
    crops = _Candidates(candidates, ids, fragments, config)
    predecessors, tracklets = [""] * len(ids), [""] * len(ids)
    rows: list[dict[str, object]] = []
    selected: list[dict[str, object]] = []
    for members in _members(table["track"].to_numpy(), table["is_certain"].to_numpy()):
        if not is_person_track(scores[members], motion[members], config):
            continue
        tracklet = tracklet_id(digest, ids[members[0]])
        for earlier, member in zip([-1, *members[:-1]], members, strict=True):
            tracklets[member] = tracklet
            predecessors[member] = ids[earlier] if earlier >= 0 else ""
        best, is_repeated = crops.best(members)
        selected += [
            {"crop_id": crop, "tracklet": tracklet, "rank": rank, "near_duplicate": bool(is_repeated[rank])}
            for rank, crop in enumerate(best)
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
                "best_crop": best[0] if best else "",
                "score": strongest_third(scores[members]),
                "motion": strongest_third(motion[members]),
            }
        )
    named = table.append_column("predecessor", pa.array(predecessors, pa.string()))
    named = named.append_column("tracklet", pa.array(tracklets, pa.string()))
    is_used = pc.or_(named["is_certain"], pc.not_equal(named["tracklet"], ""))
    return VideoTracklets(
        pa.Table.from_pylist(rows, schema=TRACKLET_SCHEMA),
        pa.Table.from_pylist(selected, schema=BEST_CROP_SCHEMA),
        named.filter(is_used).select(DETECTION_SCHEMA.names),
    )


def _track(batches: Iterable[pa.RecordBatch], config: TrackingConfig) -> tuple[pa.Table, Int64Array]:
    """Return all detections with their tracks, -1 for none, and the fragments of those that are certain.

    A fragment is named by the row of its first detection; that of an uncertain detection is -1.
    """
    tracker = Tracker(config)
    parts: list[pa.Table] = [_DETECTED_SCHEMA.empty_table()]
    tracks: list[Int64Array] = [np.empty(0, dtype=np.int64)]
    fragments: list[Int64Array] = [np.empty(0, dtype=np.int64)]
    row, last_cell, last = 0, -1, fragments[0]
    for batch in batches:
        parts.append(_flat(batch))
        for frame, links in _frames(batch):
            tracks.append(tracker.push(frame))
            own: Int64Array = np.arange(row, row + len(links), dtype=np.int64)
            # The earlier frame is missing if its slice was quarantined.
            if frame.cell == last_cell + 1:
                own = np.where(links >= 0, np.append(last, -1)[links], own)
            fragments.append(np.concatenate([own, np.full(len(frame.boxes) - len(links), -1)]))
            row, last_cell, last = row + len(frame.boxes), frame.cell, own
    table = pa.concat_tables(parts).append_column("track", pa.array(np.concatenate(tracks)))
    return table, np.concatenate(fragments)


_DETECTED_SCHEMA = pa.schema(
    [("id", pa.string()), ("frame", pa.int64()), ("cell", pa.int64()), ("offset_s", pa.float64())]
    + [(name, pa.float32()) for name in ("x", "y", "w", "h", "score", "motion")]
    + [("is_certain", pa.bool_())]
)


def _flat(batch: pa.RecordBatch) -> pa.Table:
    """Return a row for each detection of some sampled frames."""
    counts = pc.list_value_length(batch["ids"]).to_numpy()
    certain = pc.list_value_length(batch["links"]).to_numpy()
    ranks = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    boxes = batch["boxes"].flatten().to_numpy().reshape(-1, 4)
    of_frames = [np.repeat(batch[name].to_numpy(), counts) for name in ("frame", "cell", "offset_s")]
    of_detections = [batch[name].flatten() for name in ("scores", "motion")]
    columns = [batch["ids"].flatten(), *of_frames, *boxes.T, *of_detections, ranks < np.repeat(certain, counts)]
    return pa.table([pa.array(column) for column in columns], schema=_DETECTED_SCHEMA)


def _frames(batch: pa.RecordBatch) -> Iterator[tuple[FrameDetections, Int64Array]]:
    """Yield sampled frames with the links of their fragments: rows in the frame before, -1 for none."""
    for number in range(batch.num_rows):
        links, raw, scores, vectors, visible = (
            batch[name][number].values.to_numpy(zero_copy_only=False)
            for name in ("links", "raw", "scores", "vectors", "visible")
        )
        camera = batch["camera_motion"][number].as_py()
        appearance = Descriptors(
            vectors=vectors.astype(np.float32).reshape(len(links), len(vectors) // max(1, len(links))),
            visible=visible.reshape(len(links), len(visible) // max(1, len(links))).astype(np.bool_),
            always=batch["always"][number].as_py(),
        )
        frame = FrameDetections(
            cell=batch["cell"][number].as_py(),
            boxes=raw.reshape(-1, 4),
            scores=scores,
            appearance=appearance,
            min_score=batch["min_score"][number].as_py(),
            camera=None if camera is None else np.reshape(camera, (2, 3)),
        )
        yield frame, links.astype(np.int64)


def _members(tracks: Int64Array, is_certain: BoolArray) -> Iterator[Int64Array]:
    """Yield the rows of each track, without the uncertain detections at its end."""
    order = np.argsort(tracks, kind="stable")
    order = order[tracks[order] >= 0]
    for rows in np.split(order, np.flatnonzero(np.diff(tracks[order])) + 1):
        if len(rows):
            yield rows[: np.flatnonzero(is_certain[rows])[-1] + 1]


class _Candidates:
    """The crops that the slices of a video kept, reduced to the best of each fragment of the whole video."""

    def __init__(self, candidates: pa.Table, ids: Sequence[str], fragments: Int64Array, config: TrackingConfig) -> None:
        self._config = config
        self._ids = candidates["crop_id"].to_pylist()
        self._quality = candidates["quality"].to_pylist()
        self._hashes = candidates["dhash"].to_pylist()
        self._buckets = [bucket_of(offset, config.bucket_s) for offset in candidates["offset_s"].to_pylist()]
        row_of = {crop: row for row, crop in enumerate(self._ids)}
        by_fragment: dict[int, list[int]] = {}
        for detection, fragment in enumerate(fragments.tolist()):
            if (crop := row_of.get(ids[detection])) is not None:
                by_fragment.setdefault(fragment, []).append(crop)
        kept = {crop for crops in by_fragment.values() for crop in self._best(crops)}
        self._detections = {row: row_of[crop] for row, crop in enumerate(ids) if row_of.get(crop) in kept}

    def best(self, members: Int64Array) -> tuple[list[str], BoolArray]:
        """Return the best crops of some detections, best first, and which of them are near-duplicates."""
        rows = [self._detections[row] for row in members.tolist() if row in self._detections]
        best = self._best(rows)
        hashes = [self._hashes[row] for row in best]
        return [self._ids[row] for row in best], near_duplicates(hashes, self._config.near_duplicate_bits)

    def _best(self, rows: Sequence[int]) -> list[int]:
        ids, quality = [self._ids[row] for row in rows], [self._quality[row] for row in rows]
        best = best_crops(ids, quality, [self._buckets[row] for row in rows], self._config.crops_per_tracklet)
        return [rows[row] for row in best]


def _column(table: pa.Table, name: str) -> Float64Array:
    return np.asarray(table[name].to_numpy())
