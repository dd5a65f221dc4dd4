"""Detection and tracking against the truth of rendered footage.

    python benchmarks/tracking.py --identities 12 --cameras 3 --seconds 40

Boxes: recall and precision at IoU 0.5 over the sampled frames, of all detections and of those in tracklets.
Tracks: misses, false alarms, identity switches and MOTA (Bernardin and Stiefelhagen 2008), IDF1 (Ristani et al. 2016).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from tests.support.crop_candidates import candidate_table
from vestigo.datasets.synthetic import write_rendered
from vestigo.ingest.crops import tracklet_id
from vestigo.ingest.inputs import VideoInput
from vestigo.ingest.shards import SliceShard, plan_shards
from vestigo.ingest.sources.discover import discover
from vestigo.ingest.video.assembly import assemble_tracklets, join_tracks
from vestigo.ingest.video.decode import FrameReader
from vestigo.ingest.video.slices import process_slice
from vestigo_models.detection.base import iou_matrix
from vestigo_models.detection.registry import make_detector
from vestigo_models.tracking.config import TrackingConfig

BOX = ["x", "y", "w", "h"]


def detections_of(
    video: VideoInput, detector_ref: str, config: TrackingConfig
) -> tuple[pd.DataFrame, list[int], float]:
    """Return detections with their tracklet ("" = rejected), the sampled frames, and seconds per sampled frame."""
    detector = make_detector(detector_ref)
    (shard, _) = plan_shards([video], shard_size=1, slice_s=1e9, tracking=config)
    assert isinstance(shard, SliceShard)
    sampled: list[int] = []

    def frames() -> Iterable:
        for frame in FrameReader(video.path, video.info, shard, shard.tracking.fps):
            sampled.append(frame.index)
            yield frame

    start = time.perf_counter()
    owned = range(shard.first, shard.last)
    part = process_slice(
        frames(), detector, name=video.name, digest=video.digest, owned=owned, complete=True, config=shard.tracking
    )
    seconds = (time.perf_counter() - start) / max(1, len(sampled))
    found = assemble_tracklets(
        part.detections, candidate_table(part.candidates), digest=video.digest, config=shard.tracking
    )
    table = part.detections.to_pandas()
    table["tracklet"] = ""
    kept = set(found.rows["tracklet"].to_pylist())
    ordered = part.detections.sort_by([("frame", "ascending"), ("id", "ascending")])
    ids = ordered["id"].to_pylist()
    for root, rows in join_tracks(ids, ordered["predecessor"].to_pylist()).items():
        tracklet = tracklet_id(video.digest, ids[root])
        if tracklet in kept:
            table.loc[table["id"].isin([ids[row] for row in rows]), "tracklet"] = tracklet
    return table, sampled, seconds


def match_boxes(truth: pd.DataFrame, found: pd.DataFrame) -> list[tuple[int, int]]:
    """Return pairs (row of truth, row of detections) of one frame at IoU >= 0.5, as many and as tight as possible."""
    if truth.empty or found.empty:
        return []
    iou = iou_matrix(truth[BOX].to_numpy(), found[BOX].to_numpy())
    rows, columns = linear_sum_assignment(np.where(iou >= 0.5, -1.0 - iou, 0.0))
    return [(r, c) for r, c in zip(rows, columns, strict=True) if iou[r, c] >= 0.5]


class Score:
    """Counts summed over frames and videos."""

    def __init__(self) -> None:
        self.truth = self.found = self.hits = self.switches = 0
        self.last: dict[tuple, str] = {}
        self.together: dict[tuple, int] = {}

    def add(self, video: str, truth: pd.DataFrame, found: pd.DataFrame) -> None:
        pairs = match_boxes(truth, found)
        self.truth += len(truth)
        self.found += len(found)
        self.hits += len(pairs)
        for row, column in pairs:
            person, track = (video, int(truth["pid"].iloc[row])), str(found["tracklet"].iloc[column])
            self.switches += self.last.get(person, track) != track
            self.last[person] = track
            self.together[person, track] = self.together.get((person, track), 0) + 1

    def boxes(self) -> dict[str, float]:
        recall, precision = self.hits / max(1, self.truth), self.hits / max(1, self.found)
        return {"truth": self.truth, "found": self.found, "recall": round(recall, 3), "precision": round(precision, 3)}

    def tracks(self) -> dict[str, float]:
        misses, alarms = self.truth - self.hits, self.found - self.hits
        people = sorted({person for person, _ in self.together})
        tracks = sorted({track for _, track in self.together})
        shared = np.array([[self.together.get((p, t), 0) for t in tracks] for p in people]).reshape(len(people), -1)
        identified = shared[linear_sum_assignment(-shared)].sum() if shared.size else 0
        return {
            "people": len(people),
            "tracklets": len(tracks),
            "misses": misses,
            "false_alarms": alarms,
            "switches": self.switches,
            "MOTA": round(1 - (misses + alarms + self.switches) / max(1, self.truth), 3),
            "IDF1": round(2 * float(identified) / max(1, self.truth + self.found), 3),
            # The share of a tracklet's boxes that show its main person.
            "purity": round(float(shared.max(axis=0).sum() / max(1, shared.sum())), 4) if shared.size else 0.0,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=12)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--detector", default="hog")
    parser.add_argument(
        "--footage", type=Path, help="what `vestigo render --video-seconds` wrote, instead of rendering"
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        root = arguments.footage or Path(folder) / "rendered"
        if arguments.footage is None:
            write_rendered(
                root,
                arguments.preset,
                identities=arguments.identities,
                cameras=arguments.cameras,
                images_per_camera=1,
                video_seconds=arguments.seconds,
                seed=arguments.seed,
            )
        print(json.dumps(measure(root, arguments.detector, TrackingConfig(fps=arguments.fps)), indent=2))


def measure(root: Path, detector: str, config: TrackingConfig) -> dict[str, object]:
    truth = pd.read_parquet(root / "truth.parquet")
    everything, tracked, by_height, seconds = Score(), Score(), {}, []
    for video in discover(root / "videos"):
        assert isinstance(video, VideoInput)
        table, sampled, took = detections_of(video, detector, config)
        seconds.append(took)
        of_video = truth[truth["video"].map(lambda name: Path(str(name)).name) == Path(video.name).name]
        for frame in sampled:
            here, found = of_video[of_video["frame"] == frame], table[table["frame"] == frame]
            everything.add(video.name, here, found)
            tracked.add(video.name, here, found[found["tracklet"] != ""])
            hit = {row for row, _ in match_boxes(here, found)}
            for row, height in enumerate(here["h"]):
                key = f"{int(height) // 50 * 50}-{int(height) // 50 * 50 + 50} px"
                seen, of = by_height.get(key, (0, 0))
                by_height[key] = (seen + (row in hit), of + 1)
    return {
        "detections": everything.boxes(),
        "in_tracklets": tracked.boxes(),
        "tracks": tracked.tracks(),
        "recall_by_height": {k: f"{seen}/{of}" for k, (seen, of) in sorted(by_height.items(), key=lambda i: len(i[0]))},
        "seconds_per_sampled_frame": round(float(np.mean(seconds)), 3),
    }


if __name__ == "__main__":
    main()
