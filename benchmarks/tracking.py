"""Detection and tracking against truth: rendered footage, or a video with truth in MOT format.

    pip install --no-deps trackeval==1.3.0     # its pin of NumPy is newer than ours; the metrics run with both
    python benchmarks/tracking.py --identities 12 --cameras 3 --seconds 40
    python benchmarks/tracking.py --footage PETS09-S2L1.mp4 --truth gt.txt

Boxes: recall and precision at IoU 0.5 over the sampled frames, of all detections and of those in tracklets.
Tracks: MOTA and identity switches (Bernardin and Stiefelhagen 2008), IDF1 (Ristani et al. 2016), HOTA (Luiten et al.
2021), computed by TrackEval.

Truth has the columns frame, id, left, top, width and height. Without a header it is a `gt.txt` of MOTChallenge: frames
from 1, and rows whose seventh column is 0 do not count. With a header, frames count from 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from trackeval.metrics import CLEAR, HOTA, Identity

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
from vestigo_models.detection.registry import AUTO, make_detector
from vestigo_models.tracking.config import TrackingConfig

BOX = ["x", "y", "w", "h"]
MIN_IOU = 0.5
AT_MIN_IOU = {"THRESHOLD": MIN_IOU, "PRINT_CONFIG": False}


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
    assembled = assemble_tracklets(
        part.detections, candidate_table(part.candidates), digest=video.digest, config=shard.tracking
    )
    table = part.detections.to_pandas()
    table["tracklet"] = ""
    kept = set(assembled.rows["tracklet"].to_pylist())
    ordered = part.detections.sort_by([("frame", "ascending"), ("id", "ascending")])
    ids = ordered["id"].to_pylist()
    for root, rows in join_tracks(ids, ordered["predecessor"].to_pylist()).items():
        tracklet = tracklet_id(video.digest, ids[root])
        if tracklet in kept:
            table.loc[table["id"].isin([ids[row] for row in rows]), "tracklet"] = tracklet
    return table, sampled, seconds


def read_truth(path: Path) -> pd.DataFrame:
    """Return the columns frame (from 0), pid, x, y, w, h of a file in MOT format."""
    with path.open(encoding="utf-8") as file:
        has_header = not file.readline().split(",")[0].strip().isdigit()
    table = pd.read_csv(path, header=0 if has_header else None)
    if not has_header:
        if table.shape[1] > 6:
            table = table[table[6] != 0]
        table[0] -= 1
    table = table.iloc[:, :6]
    table.columns = pd.Index(["frame", "pid", *BOX])
    return table


def sequence(truth: pd.DataFrame, detections: pd.DataFrame, frames: list[int], track: str) -> dict[str, Any]:
    """Return one video as TrackEval's metrics read it; the column `track` of detections names their tracks."""
    people = {pid: number for number, pid in enumerate(sorted(truth["pid"].unique()))}
    tracks = {name: number for number, name in enumerate(sorted(detections[track].unique()))}
    truth_ids, track_ids, overlaps = [], [], []
    for frame in frames:
        true_rows, rows = truth[truth["frame"] == frame], detections[detections["frame"] == frame]
        truth_ids.append(true_rows["pid"].map(people).to_numpy(dtype=int))
        track_ids.append(rows[track].map(tracks).to_numpy(dtype=int))
        overlaps.append(iou_matrix(true_rows[BOX].to_numpy(), rows[BOX].to_numpy()))
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(people),
        "num_tracker_ids": len(tracks),
        "num_gt_dets": sum(map(len, truth_ids)),
        "num_tracker_dets": sum(map(len, track_ids)),
        "gt_ids": truth_ids,
        "tracker_ids": track_ids,
        "similarity_scores": overlaps,
    }


def combined(metric: CLEAR | Identity | HOTA, sequences: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a metric over all videos."""
    return metric.combine_sequences({str(n): metric.eval_sequence(data) for n, data in enumerate(sequences)})


def boxes(sequences: list[dict[str, Any]]) -> dict[str, float]:
    """Return recall and precision of boxes."""
    clear = combined(CLEAR(AT_MIN_IOU), sequences)
    counts = {key: sum(data[f"num_{name}_dets"] for data in sequences) for key, name in
              (("truth", "gt"), ("detections", "tracker"))}  # fmt: skip
    return {**counts, "recall": round(float(clear["CLR_Re"]), 3), "precision": round(float(clear["CLR_Pr"]), 3)}


def tracks(sequences: list[dict[str, Any]]) -> dict[str, float]:
    """Return the metrics of tracks."""
    clear = combined(CLEAR(AT_MIN_IOU), sequences)
    identity, hota = combined(Identity(AT_MIN_IOU), sequences), combined(HOTA(), sequences)
    return {
        "people": sum(data["num_gt_ids"] for data in sequences),
        "tracklets": sum(data["num_tracker_ids"] for data in sequences),
        "misses": int(clear["CLR_FN"]),
        "false_alarms": int(clear["CLR_FP"]),
        "switches": int(clear["IDSW"]),
        "MOTA": round(float(clear["MOTA"]), 3),
        "IDF1": round(float(identity["IDF1"]), 3),
        # Means over IoU 0.05 to 0.95.
        "HOTA": round(float(np.mean(hota["HOTA"])), 3),
        "DetA": round(float(np.mean(hota["DetA"])), 3),
        "AssA": round(float(np.mean(hota["AssA"])), 3),
    }


def detected_rows(truth: pd.DataFrame, detections: pd.DataFrame) -> set[int]:
    """Return the rows of the truth of one frame that are detected, as many and as tight as possible."""
    overlaps = iou_matrix(truth[BOX].to_numpy(), detections[BOX].to_numpy())
    rows, columns = linear_sum_assignment(np.where(overlaps >= MIN_IOU, -1.0 - overlaps, 0.0))
    return {int(row) for row, column in zip(rows, columns, strict=True) if overlaps[row, column] >= MIN_IOU}


def measure(videos: list[tuple[VideoInput, pd.DataFrame]], detector: str, config: TrackingConfig) -> dict[str, object]:
    """Return the metrics over videos with their truth."""
    everything: list[dict[str, Any]] = []
    tracked: list[dict[str, Any]] = []
    by_height: dict[int, list[int]] = {}
    seconds = []
    for video, truth in videos:
        table, sampled, took = detections_of(video, detector, config)
        seconds.append(took)
        truth = truth[truth["frame"].isin(sampled)]
        everything.append(sequence(truth, table, sampled, "id"))
        tracked.append(sequence(truth, table[table["tracklet"] != ""], sampled, "tracklet"))
        for frame in sampled:
            people = truth[truth["frame"] == frame]
            detected = detected_rows(people, table[table["frame"] == frame])
            for row, height in enumerate(people["h"]):
                counts = by_height.setdefault(int(height) // 50 * 50, [0, 0])
                counts[0] += row in detected
                counts[1] += 1
    return {
        "detections": boxes(everything),
        "in_tracklets": boxes(tracked),
        "tracks": tracks(tracked),
        "recall_by_height": {f"{low}-{low + 50} px": f"{hits}/{n}" for low, (hits, n) in sorted(by_height.items())},
        "seconds_per_sampled_frame": round(float(np.mean(seconds)), 3),
    }


def rendered_videos(root: Path) -> list[tuple[VideoInput, pd.DataFrame]]:
    """Return the videos of a rendered camera network with their truth."""
    truth = pd.read_parquet(root / "truth.parquet")
    names = truth["video"].map(lambda name: Path(str(name)).name)
    videos = [video for video in discover(root / "videos") if isinstance(video, VideoInput)]
    return [(video, truth[names == Path(video.name).name]) for video in videos]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=12)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--detector", default=AUTO)
    parser.add_argument(
        "--footage", type=Path, help="what `vestigo render --video-seconds` wrote, or a video, instead of rendering"
    )
    parser.add_argument("--truth", type=Path, help="truth of the video in MOT format")
    arguments = parser.parse_args()
    if arguments.truth is not None and arguments.footage is None:
        parser.error("--truth needs the video that it is about: --footage VIDEO")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    config = TrackingConfig(fps=arguments.fps)
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
        if arguments.truth is None:
            videos = rendered_videos(root)
        else:
            truth = read_truth(arguments.truth)
            videos = [(video, truth) for video in discover(root) if isinstance(video, VideoInput)]
        print(json.dumps(measure(videos, arguments.detector, config), indent=2))


if __name__ == "__main__":
    main()
