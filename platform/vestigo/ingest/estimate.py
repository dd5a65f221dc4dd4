"""Estimate the time and disk space of indexing by timing a sample of the planned frames and images."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vestigo.ingest.decoding import decode_frames, decode_images
from vestigo.ingest.shards import ImageShard, Shard, SliceShard
from vestigo.ingest.video.decode import FrameReader
from vestigo_models.errors import BadInput

BYTES_PER_CROP = 8_000  # a stored row: a JPEG of 128x64 to 384x128 pixels, its embedding and facts


@dataclass(frozen=True, kw_only=True)
class IndexingEstimate:
    """Estimated cost of indexing on `device`: seconds and bytes are extrapolated from the `timed` images and frames."""

    shards: int
    images: int
    frames: int
    seconds: float
    disk_bytes: int
    timed: int
    device: str


@dataclass
class _Sample:
    """Timings of one kind of unit: units in the plan, and the cost of those that were timed."""

    units: float = 0
    timed: int = 0
    crops: int = 0
    seconds: float = 0.0

    def measure(self, images: Iterator[NDArray[np.uint8]], work: Callable[[NDArray[np.uint8]], int]) -> None:
        """Time reading and working on each image."""
        start = time.perf_counter()
        for image in images:
            self.crops += work(image)
            now = time.perf_counter()
            self.seconds += now - start
            self.timed += 1
            start = now

    def extrapolate(self, total: float) -> float:
        """Scale a total of the timed units to all units."""
        return total * self.units / self.timed if self.timed else 0.0


def estimate_indexing(
    shards: Iterable[Shard],
    work: Callable[[NDArray[np.uint8]], int],
    *,
    workers: int,
    device: str,
    sample: int = 6,
    bytes_per_crop: int = BYTES_PER_CROP,
) -> IndexingEstimate:
    """Count a plan, and time at most `sample` images and `sample` frames of it on this machine.

    Disk space is an upper bound for videos, where tracklets keep only their best crops. `work` processes one RGB uint8
    image from detection to embedding and returns its number of crops; it has run once before, because the first image
    includes loading. The seconds are divided by `workers`; start-up is excluded.
    """
    images, frames = _Sample(), _Sample()
    count = 0
    for shard in shards:
        count += 1
        if isinstance(shard, ImageShard):
            images.units += len(shard.inputs)
            decoded = decode_images(shard.inputs[: max(0, sample - images.timed)])
            images.measure((item[0] for item in decoded if not isinstance(item, BadInput)), work)
        elif isinstance(shard, SliceShard):
            info = shard.video.info
            owned_s = (shard.last - shard.first) * info.duration_s / max(1, info.frames)
            lead_s = shard.lead_s if shard.first else 0.0
            frames.units += (owned_s + lead_s) * shard.tracking.fps
            frames.measure(_read_frames(shard, min(sample - frames.timed, max(1, sample // 2))), work)
    samples = (images, frames)
    return IndexingEstimate(
        shards=count,
        images=round(images.units),
        frames=round(frames.units),
        seconds=sum(kind.extrapolate(kind.seconds) for kind in samples) / max(1, workers),
        disk_bytes=round(sum(kind.extrapolate(kind.crops) for kind in samples) * bytes_per_crop),
        timed=sum(kind.timed for kind in samples),
        device=device,
    )


def _read_frames(shard: SliceShard, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield at most `count` frames, until one is unreadable."""
    reader = FrameReader(shard.video.path, shard.video.info, shard, shard.tracking.fps)
    with suppress(BadInput):
        for frame in islice(decode_frames(reader), max(0, count)):
            yield frame.image
