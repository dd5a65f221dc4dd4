"""What indexing a plan will cost, from a few of its own frames and images rather than from a table of machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.shards import ImageShard, Shard, SliceShard
from vestigo.ingest.sources.containers import read_image_input
from vestigo.ingest.video.decode import FrameReader
from vestigo_models.errors import BadInput

BYTES_PER_CROP = 8_000
"""A stored row: a JPEG of 128x64 to 384x128 pixels, its embedding and facts."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """shards, images and frames are counted; seconds and disk_bytes are extrapolated from `timed` of them."""

    shards: int
    images: int
    frames: int
    seconds: float
    disk_bytes: int
    timed: int
    device: str


@dataclass
class _Timed:
    """Work of one kind: units in the plan, and what some of them took."""

    units: float = 0
    done: int = 0
    crops: int = 0
    seconds: float = 0.0

    def spend(self, work: Callable[[NDArray[np.uint8]], int], image: NDArray[np.uint8], reading: float) -> None:
        start = time.perf_counter()
        self.crops += work(image)
        self.seconds += reading + time.perf_counter() - start
        self.done += 1

    def scaled(self, total: float) -> float:
        return total * self.units / self.done if self.done else 0.0


@dataclass
class _Plan:
    images: _Timed = field(default_factory=_Timed)
    frames: _Timed = field(default_factory=_Timed)


def estimate(
    shards: Iterable[Shard],
    work: Callable[[NDArray[np.uint8]], int],
    *,
    workers: int,
    device: str,
    sample: int = 6,
    bytes_per_crop: int = BYTES_PER_CROP,
) -> Estimate:
    """Count a plan, and time at most `sample` images and `sample` frames of it on this machine.

    work: what is done with one RGB uint8 image, from detection to embedding; returns how many crops came out. It has
    run once before (the first image pays for loading). Seconds are of work divided by `workers`, start-up excluded,
    and hold for `device` only. Disk is an upper bound for videos, where tracklets keep only their best crops.
    """
    plan = _Plan()
    count = 0
    for shard in shards:
        count += 1
        if isinstance(shard, ImageShard):
            plan.images.units += len(shard.inputs)
            _time_images(shard, work, plan.images, sample)
        elif isinstance(shard, SliceShard):
            info = shard.video.info
            owned_s = (shard.last - shard.first) * info.duration_s / max(1, info.frames)
            lead_s = shard.lead_s if shard.first else 0.0
            plan.frames.units += (owned_s + lead_s) * shard.fps
            _time_frames(shard, work, plan.frames, sample)
    kinds = (plan.images, plan.frames)
    return Estimate(
        shards=count,
        images=round(plan.images.units),
        frames=round(plan.frames.units),
        seconds=sum(kind.scaled(kind.seconds) for kind in kinds) / max(1, workers),
        disk_bytes=round(sum(kind.scaled(kind.crops) for kind in kinds) * bytes_per_crop),
        timed=sum(kind.done for kind in kinds),
        device=device,
    )


def _time_images(shard: ImageShard, work: Callable[[NDArray[np.uint8]], int], timed: _Timed, sample: int) -> None:
    for item in shard.inputs[: max(0, sample - timed.done)]:
        start = time.perf_counter()
        try:
            image = read_image_input(item)
        except BadInput:
            continue
        timed.spend(work, image, time.perf_counter() - start)


def _time_frames(shard: SliceShard, work: Callable[[NDArray[np.uint8]], int], timed: _Timed, sample: int) -> None:
    wanted = min(sample - timed.done, max(1, sample // 2))
    start = time.perf_counter()
    try:
        for frame in FrameReader(shard.video.path, shard.video.info, shard.slice, shard.fps):
            if wanted <= 0:
                return
            timed.spend(work, frame.image, time.perf_counter() - start)
            wanted -= 1
            start = time.perf_counter()
    except BadInput:
        return
