"""Divide inputs into shards, the units of work, retry and commit."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from vestigo.ingest.inputs import ImageInput, VideoInput, from_json, to_json
from vestigo.ingest.video.decode import VideoSlice, split_video
from vestigo_models.tracking.config import TrackingConfig


@dataclass(frozen=True)
class ImageShard:
    """Still images of one source."""

    inputs: tuple[ImageInput, ...]


@dataclass(frozen=True)
class SliceShard(VideoSlice):
    """A slice of a video."""

    video: VideoInput  # with the keyframes of the slice only
    part: int  # number of the slice, from 0
    parts: int  # number of slices of the video
    tracking: TrackingConfig  # configuration at this video's rate


@dataclass(frozen=True)
class AssemblyShard:
    """The assembly of a video; runs after all of its slices."""

    video: VideoInput
    parts: int
    tracking: TrackingConfig


Shard = ImageShard | SliceShard | AssemblyShard
SHARD_KINDS: dict[str, type] = {"images": ImageShard, "slice": SliceShard, "assembly": AssemblyShard}


def shard_to_json(shard: Shard) -> dict[str, Any]:
    """Return a shard as a JSON object with its `kind`."""
    return to_json(shard, SHARD_KINDS)


def shard_from_json(data: Mapping[str, Any]) -> Shard:
    """Return the shard of a JSON object of `shard_to_json`."""
    shard: Shard = from_json(data, SHARD_KINDS, "shard")
    return shard


def plan_shards(
    inputs: Iterable[ImageInput | VideoInput], *, shard_size: int, slice_s: float, tracking: TrackingConfig
) -> Iterator[Shard]:
    """Yield shards in the order of the inputs of one source; memory is one shard.

    The plan depends on the arguments only, so results do not depend on timing. An image shard has `shard_size` images,
    a slice at least `slice_s` seconds; the assembly of a video follows its slices. The rate of `tracking` is limited to
    that of each video.
    """
    images: list[ImageInput] = []
    for item in inputs:
        if isinstance(item, VideoInput):
            yield from _video_shards(item, slice_s, tracking)
            continue
        images.append(item)
        if len(images) == shard_size:
            yield ImageShard(tuple(images))
            images = []
    if images:
        yield ImageShard(tuple(images))


def _video_shards(video: VideoInput, slice_s: float, tracking: TrackingConfig) -> Iterator[Shard]:
    tracking = tracking.at_rate(Fraction(video.info.rate))
    slices = split_video(video.info, slice_s, tracking.lead_s)
    for number, part in enumerate(slices):
        # A shard has only the keyframes that it needs: a day of footage has 40,000.
        entry = part.entry_keyframe(video.info, tracking.fps)
        needed = _with_keyframes(video, entry.index if entry else 0, part.last - 1)
        yield SliceShard(part.first, part.last, part.lead_s, needed, number, len(slices), tracking)
    yield AssemblyShard(_with_keyframes(video, 0, -1), len(slices), tracking)


def _with_keyframes(video: VideoInput, first: int, last: int) -> VideoInput:
    kept = tuple(keyframe for keyframe in video.info.keyframes if first <= keyframe.index <= last)
    return replace(video, info=replace(video.info, keyframes=kept))
