"""Retrieval of tracklets in real footage by the shipped model, compared with colour histograms.

    python benchmarks/footage.py shared/data/pedestrians.avi [--model default] [--truth gt.txt]

The footage is indexed with the embedded defaults, and every crop is a query against all others. With truth in MOT
format, a person is the one whose box overlaps the crop most, by an IoU of at least 0.5; crops without a person are left
out. Each query is compared with crops of other tracklets only: with all of them, and with those of people who were in
view together with the person of the query at any time. Where the truth gives a person who returns a new identity, only
these are known to be other people. Without truth a tracklet counts as one person, though a person who crosses twice has
two tracklets, and a tracklet may hold two people. Then there are three settings, each harder: crops as they are;
without crops within 25 frames, which any image comparison finds; and with the query under other light, at another
distance, in another box, half of them mirrored.

The peer is a colour histogram (HSV, 8x4x4 bins in each of six stripes).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from truth import BOX, read_truth

from vestigo.store.open import Store
from vestigo_models.detection.base import iou_matrix
from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import decode_image
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import ignore_stages
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index

Image = NDArray[np.uint8]
STRIPES = 6
APART = 25  # frames
SAME_PERSON = 0.5  # IoU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--truth", type=Path, help="boxes and identities in MOT format")
    arguments = parser.parse_args()
    crops = crops_of(arguments.video)
    met: dict[int, set[int]] = {}
    if arguments.truth is not None:
        truth = read_truth(arguments.truth)
        met = people_met(truth)
        crops = crops.assign(pid=identities(crops, truth))
        crops = crops[crops["pid"] >= 0].reset_index(drop=True)
    images = [decode_image(image) for image in crops["image"]]
    tracklets, frames = crops["tracklet"].to_numpy(str), crops["frame"].to_numpy()
    people = crops["pid"].to_numpy() if arguments.truth is not None else tracklets
    changed = [change(image, np.random.default_rng(number)) for number, image in enumerate(images)]
    extractor = Extractor(ModelPackage.from_pretrained(arguments.model))
    print(f"{len(images)} crops of {len(set(people))} people in {len(set(tracklets))} tracklets")
    for name, describe in (
        ("colours", histograms),
        (arguments.model, lambda crops: extractor.extract(crops).descriptors),
    ):
        gallery = describe(images)
        if arguments.truth is not None:
            report(name, "other tracklets", *judge(gallery, gallery, people, tracklets, frames, apart=np.inf))
            scores = judge(gallery, gallery, people, tracklets, frames, apart=np.inf, met=met)
            report(name, "of people met", *scores)
            continue
        report(name, "as they are", *judge(gallery, gallery, people, tracklets, frames, apart=0))
        report(name, "25 frames apart", *judge(gallery, gallery, people, tracklets, frames, apart=APART))
        report(name, "query changed", *judge(describe(changed), gallery, people, tracklets, frames, apart=0))


def crops_of(video: Path) -> pd.DataFrame:
    """Index a video and return its crops."""
    with tempfile.TemporaryDirectory() as place, Store.open(place) as store:
        index(store, IndexRequest(sources=(str(video),), executor="inline"), ignore_stages)
        crops = store.crops(["crop_id", "tracklet", "frame", "x", "y", "w", "h", "image"])
    return crops.sort_values(["tracklet", "frame"], ignore_index=True)


def identities(crops: pd.DataFrame, truth: pd.DataFrame) -> NDArray[np.int64]:
    """Return the person of each crop, -1 for none."""
    pids = np.full(len(crops), -1)
    by_frame = dict(list(truth.groupby("frame")))
    for row, crop in enumerate(crops.itertuples()):
        if (boxes := by_frame.get(crop.frame)) is not None:
            overlaps = iou_matrix(np.array([[crop.x, crop.y, crop.w, crop.h]]), boxes[BOX].to_numpy())[0]
            if overlaps.max() >= SAME_PERSON:
                pids[row] = boxes["pid"].to_numpy()[overlaps.argmax()]
    return pids


def people_met(truth: pd.DataFrame) -> dict[int, set[int]]:
    """Return for each person all people who were in view in the same frame at any time, the person itself included."""
    met: dict[int, set[int]] = {pid: set() for pid in truth["pid"].unique().tolist()}
    for _, pids in truth.groupby("frame")["pid"]:
        for pid in pids.tolist():
            met[pid].update(pids.tolist())
    return met


def change(image: Image, rng: np.random.Generator) -> Image:
    """Imitate another camera: change light, white balance, distance, mirror, box."""
    lit = np.clip(image * rng.uniform(0.7, 1.3) * rng.uniform(0.85, 1.15, 3), 0, 255).astype(np.uint8)
    height, width = lit.shape[:2]
    scale = rng.uniform(0.4, 1.0)
    small = (max(8, int(width * scale)), max(8, int(height * scale)))
    far = cv2.resize(cv2.resize(lit, small, interpolation=cv2.INTER_AREA), (width, height))
    turned = far[:, ::-1] if rng.random() < 0.5 else far
    top, left = rng.integers(0, max(1, int(0.12 * height))), rng.integers(0, max(1, int(0.15 * width)))
    return np.ascontiguousarray(turned[top:, left:])


def histograms(images: list[Image]) -> Descriptors:
    found = np.stack([histogram(image) for image in images]).astype(np.float32)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    return Descriptors(vectors=unit, visible=np.zeros((len(unit), 0), dtype=bool), always=1)


def histogram(image: Image) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(cv2.resize(image, (64, 128)), cv2.COLOR_RGB2HSV)
    stripes = [
        cv2.calcHist([stripe], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256]).ravel()
        for stripe in np.array_split(hsv, STRIPES)
    ]
    return np.concatenate([np.sqrt(counts / counts.sum()) for counts in stripes])


def judge(
    queries: Descriptors,
    gallery: Descriptors,
    people: NDArray[Any],
    tracklets: NDArray[np.str_],
    frames: NDArray[np.int64],
    *,
    apart: float,
    met: dict[int, set[int]] | None = None,
) -> tuple[int, float, float]:
    """Return the number of queries with a match, mAP and Rank-1 in percent.

    Crops of the query's own tracklet that are fewer than `apart` frames away are left out, and with `met` those of
    people whom the person of the query did not meet.
    """
    distances = part_visible_distance(queries, gallery)
    precision, first = [], []
    for query, row in enumerate(distances):
        near = (tracklets == tracklets[query]) & (np.abs(frames - frames[query]) < apart)
        known = np.ones(len(row), dtype=bool) if met is None else np.isin(people, list(met[people[query]]))
        kept = np.flatnonzero(~near & known & (np.arange(len(row)) != query))
        matches = (people[kept] == people[query])[np.argsort(row[kept], kind="stable")]
        if matches.any():
            at = np.flatnonzero(matches)
            precision.append(np.mean((np.arange(len(at)) + 1) / (at + 1)))
            first.append(matches[0])
    return len(first), 100 * float(np.mean(precision)), 100 * float(np.mean(first))


def report(name: str, how: str, queries: int, mean_precision: float, rank1: float) -> None:
    print(f"{name:10s} {how:16s} {queries:4d} queries   mAP {mean_precision:5.1f}   Rank-1 {rank1:5.1f}")


if __name__ == "__main__":
    main()
