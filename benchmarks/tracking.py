"""Detection and tracking against truth: rendered footage, or a video with truth in MOT format.

    pip install --no-deps trackeval==1.3.0     # its pin of NumPy is newer than ours; the metrics run with both
    python -m benchmarks.tracking --identities 12 --cameras 3 --seconds 40
    python -m benchmarks.tracking --footage PETS09-S2L1.mp4 --truth gt.txt
    python -m venv boxmot && boxmot/bin/pip install boxmot==25.0.0
    python -m benchmarks.tracking --footage PETS09-S2L1.mp4 --truth gt.txt --boxmot-python boxmot/bin/python

Boxes: recall and precision at IoU 0.5 over the sampled frames, of all detections and of those in tracklets.
Tracks: MOTA and identity switches (Bernardin and Stiefelhagen 2008), IDF1 (Ristani et al. 2016), HOTA (Luiten et al.
2021), computed by TrackEval. With `--boxmot-python`, also those of BoxMOT's ByteTrack and BoT-SORT on the same
detections, with the same filter of tracks (at least three detections, scores, motion). With `--pan`, a part of the
frame that moves is shown, and the tracks without correction for the camera's motion are reported as well.

Truth has the columns frame, id, left, top, width and height. Without a header it is a `gt.txt` of MOTChallenge: frames
from 1, and rows whose seventh column is 0 do not count. With a header, frames count from 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from benchmarks.truth import BOX, read_truth
from scipy.optimize import linear_sum_assignment
from trackeval.metrics import CLEAR, HOTA, Identity

from tests.support.crop_candidates import candidate_table
from vestigo.datasets.synthetic import write_rendered
from vestigo.ingest.inputs import VideoInput
from vestigo.ingest.shards import SliceShard, plan_shards
from vestigo.ingest.sources.discover import discover
from vestigo.ingest.video.assembly import assemble_tracklets
from vestigo.ingest.video.decode import FrameReader, SampledFrame
from vestigo.ingest.video.slices import process_slice
from vestigo_models.arrays import Int64Array
from vestigo_models.detection.base import iou_matrix
from vestigo_models.detection.registry import AUTO, make_detector
from vestigo_models.tracking.appearance import appearance_embed
from vestigo_models.tracking.config import TrackingConfig
from vestigo_models.tracking.tracker import is_person_track

MIN_IOU = 0.5
AT_MIN_IOU = {"THRESHOLD": MIN_IOU, "PRINT_CONFIG": False}
PEERS = ("bytetrack", "botsort")
PAN_SHARE = 0.75
PAN_PERIODS = (5.0, 7.0)
"""Of the view that `--pan` moves: its share of the frame's sides, and seconds of a turn there and back."""


def detections_of(
    video: VideoInput, detector_ref: str, config: TrackingConfig, boxmot_python: Path | None, *, is_panned: bool
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], dict[int, Int64Array], float]:
    """Track the people of a video.

    Returns:
        The detections with their tracklet ("" = rejected), those of peers, the view (x, y, w, h) of each sampled frame,
        and seconds per sampled frame.
    """
    detector, embed = make_detector(detector_ref), appearance_embed()
    (shard, _) = plan_shards([video], shard_size=1, slice_s=1e9, tracking=config)
    assert isinstance(shard, SliceShard)
    views: dict[int, Int64Array] = {}

    def frames() -> Iterable[SampledFrame]:
        for frame in FrameReader(video.path, video.info, shard, shard.tracking.fps):
            x, y, w, h = view = view_of(frame, is_panned=is_panned)
            views[frame.index] = view
            yield replace(frame, image=np.ascontiguousarray(frame.image[y : y + h, x : x + w]))

    start = time.perf_counter()
    owned = range(shard.first, shard.last)
    part = process_slice(
        frames(), detector, embed, name=video.name, digest=video.digest, owned=owned, config=shard.tracking
    )

    def assemble(table: pa.Table) -> pd.DataFrame:
        candidates = candidate_table(part.candidates)
        video_tracklets = assemble_tracklets(table.to_batches(), candidates, digest=video.digest, config=shard.tracking)
        return video_tracklets.detections.to_pandas()

    detections = assemble(part.frames)
    seconds = (time.perf_counter() - start) / max(1, len(views))
    peers = {}
    if is_panned:
        column = part.frames.schema.get_field_index("camera_motion")
        unknown = pa.nulls(part.frames.num_rows, pa.list_(pa.float64()))
        without = assemble(part.frames.set_column(column, part.frames.schema.field(column), unknown))
        peers["without camera motion"] = without[without["tracklet"] != ""]
    if boxmot_python is not None:
        peers |= peer_tracks(part.frames, frames(), boxmot_python, shard.tracking)
    return detections, peers, views, seconds


def view_of(frame: SampledFrame, *, is_panned: bool) -> Int64Array:
    """Return the part of a frame that is seen, x, y, w, h: all of it, or a window that moves to and fro."""
    height, width = frame.image.shape[:2]
    if not is_panned:
        return np.array([0, 0, width, height])
    size = np.array([width, height])
    seen = (size * PAN_SHARE).astype(int)
    turns = 2 * np.pi * frame.offset_s / np.array(PAN_PERIODS)
    return np.concatenate([((size - seen) / 2 * (1 + np.sin(turns))).astype(int), seen])


def seen_truth(truth: pd.DataFrame, views: dict[int, Int64Array]) -> pd.DataFrame:
    """Return the truth of sampled frames in the pixels of their views, of people who are at least half inside."""
    truth = truth[truth["frame"].isin(views)]
    view = np.array([views[frame] for frame in truth["frame"]]).reshape(-1, 4)
    boxes = truth[BOX].to_numpy(dtype=np.float64)
    low = np.clip(boxes[:, :2] - view[:, :2], 0, view[:, 2:])
    high = np.clip(boxes[:, :2] + boxes[:, 2:] - view[:, :2], 0, view[:, 2:])
    is_seen = np.prod(high - low, axis=1) >= 0.5 * np.prod(boxes[:, 2:], axis=1)
    truth = truth.assign(**dict(zip(BOX, np.concatenate([low, high - low], axis=1).T, strict=True)))
    return truth[is_seen]


def peer_tracks(
    frames: pa.Table, images: Iterable[SampledFrame], python: Path, config: TrackingConfig
) -> dict[str, pd.DataFrame]:
    """Return the detections in the tracks of each peer, with the columns of our own."""
    rows = []
    for frame in frames.to_pylist():
        values = zip(np.reshape(frame["boxes"], (-1, 4)), frame["scores"], frame["motion"], strict=True)
        rows += [(frame["frame"], row, *box, score, motion) for row, (box, score, motion) in enumerate(values)]
    table = pd.DataFrame(rows, columns=["frame", "row", *BOX, "score", "motion"])
    sides = {"left": table["x"], "top": table["y"], "right": table["x"] + table["w"], "bottom": table["y"] + table["h"]}
    min_score = str(max(frames["min_score"].to_pylist(), default=0.0))
    kept = {}
    with TemporaryDirectory() as folder:
        for image in images:
            cv2.imwrite(f"{folder}/{image.index}.png", cv2.cvtColor(image.image, cv2.COLOR_RGB2BGR))
        table.assign(**sides).to_csv(f"{folder}/detections.csv", index=False)
        script = str(Path(__file__).parent / "boxmot_tracks.py")
        for peer in PEERS:
            subprocess.run([python, script, folder, peer, str(config.fps), min_score], check=True, stdout=sys.stderr)
            groups = table.merge(pd.read_csv(f"{folder}/tracks.csv"), on=["frame", "row"]).groupby("track")
            people = groups.filter(lambda of: is_person_track(of["score"].to_numpy(), of["motion"].to_numpy(), config))
            kept[peer] = people.rename(columns={"track": "tracklet"})
    return kept


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


def measure(
    videos: list[tuple[VideoInput, pd.DataFrame]],
    detector: str,
    config: TrackingConfig,
    boxmot_python: Path | None = None,
    *,
    is_panned: bool = False,
) -> dict[str, object]:
    """Return the metrics over videos with their truth."""
    everything: list[dict[str, Any]] = []
    tracked: list[dict[str, Any]] = []
    peers: dict[str, list[dict[str, Any]]] = {}
    by_height: dict[int, list[int]] = {}
    seconds = []
    for video, truth in videos:
        table, of_peers, views, took = detections_of(video, detector, config, boxmot_python, is_panned=is_panned)
        seconds.append(took)
        sampled = list(views)
        truth = seen_truth(truth, views) if is_panned else truth[truth["frame"].isin(sampled)]
        everything.append(sequence(truth, table, sampled, "id"))
        tracked.append(sequence(truth, table[table["tracklet"] != ""], sampled, "tracklet"))
        for peer, peer_table in of_peers.items():
            peers.setdefault(peer, []).append(sequence(truth, peer_table, sampled, "tracklet"))
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
        **({"peers": {peer: tracks(sequences) for peer, sequences in peers.items()}} if peers else {}),
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
    parser.add_argument(
        "--boxmot-python", type=Path, help="Python of an environment with BoxMOT, to measure it as well"
    )
    parser.add_argument("--pan", action="store_true", help="show a moving part of the frames, as a camera that turns")
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
        result = measure(videos, arguments.detector, config, arguments.boxmot_python, is_panned=arguments.pan)
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
