"""Cutting inputs into shards: the units of work, of retry and of commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from vestigo.ingest.inputs import ImageInput, VideoInput
from vestigo.ingest.video.decode import VideoSlice, slices
from vestigo_models.errors import ConfigError
from vestigo_models.tracking.config import TrackingConfig


@dataclass(frozen=True)
class ImageShard:
    """Some still images of one source."""

    inputs: tuple[ImageInput, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `shard_from_json` reads."""
        return {"kind": "images", "inputs": [item.to_json() for item in self.inputs]}


@dataclass(frozen=True)
class SliceShard:
    """Frames [first, last) of a video, and `lead_s` seconds before them to look at; part 0 .. parts-1.

    `tracking` is the configuration at this video's rate, which is what `extract_part` has to be given.
    """

    video: VideoInput
    first: int
    last: int
    lead_s: float
    part: int
    parts: int
    tracking: TrackingConfig

    @property
    def fps(self) -> float:
        """Frames to be sampled a second."""
        return self.tracking.fps

    @property
    def slice(self) -> VideoSlice:
        """What a `FrameReader` reads."""
        return VideoSlice(self.first, self.last, self.lead_s)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `shard_from_json` reads."""
        return {
            "kind": "slice",
            "video": self.video.to_json(),
            "first": self.first,
            "last": self.last,
            "lead_s": self.lead_s,
            "part": self.part,
            "parts": self.parts,
            "tracking": asdict(self.tracking),
        }


@dataclass(frozen=True)
class AssemblyShard:
    """Joins the parts of one video; runs after all of its slices."""

    video: VideoInput
    parts: int
    tracking: TrackingConfig

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `shard_from_json` reads."""
        tracking = asdict(self.tracking)
        return {"kind": "assembly", "video": self.video.to_json(), "parts": self.parts, "tracking": tracking}


Shard = ImageShard | SliceShard | AssemblyShard


def shard_from_json(data: dict[str, Any]) -> Shard:
    """Return the shard of a JSON object that `to_json` made."""
    values = {name: value for name, value in data.items() if name != "kind"}
    if data.get("kind") == "images":
        return ImageShard(tuple(ImageInput.from_json(item) for item in values["inputs"]))
    if data.get("kind") not in ("slice", "assembly"):
        raise ConfigError(f"unknown kind of shard {data.get('kind')!r}: expected images, slice or assembly")
    values["video"] = VideoInput.from_json(values["video"])
    values["tracking"] = TrackingConfig(**values["tracking"])
    return SliceShard(**values) if data["kind"] == "slice" else AssemblyShard(**values)


def plan_shards(
    items: Iterable[ImageInput | VideoInput], *, shard_size: int, slice_s: float, tracking: TrackingConfig
) -> Iterator[Shard]:
    """Yield shards in the order of `items`, holding no more than one at a time.

    Images come `shard_size` a shard; a video as its slices of at least `slice_s` seconds and then its assembly. The
    plan depends on nothing else, so batches and results do not depend on timing.
    """
    images: list[ImageInput] = []
    for item in items:
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
    parts = slices(video.info, slice_s, tracking.lead_s)
    for number, part in enumerate(parts):
        yield SliceShard(
            video=_trimmed(video, part, tracking),
            first=part.first,
            last=part.last,
            lead_s=part.lead_s,
            part=number,
            parts=len(parts),
            tracking=tracking,
        )
    yield AssemblyShard(_with_keyframes(video, 0, -1), len(parts), tracking)


def _trimmed(video: VideoInput, part: VideoSlice, tracking: TrackingConfig) -> VideoInput:
    """The video with the keyframes that this slice needs: a day of footage has 40,000 of them."""
    entry = part.entry(video.info, tracking.fps)
    return _with_keyframes(video, entry.index if entry else 0, part.last - 1)


def _with_keyframes(video: VideoInput, first: int, last: int) -> VideoInput:
    return replace(video, info=video.info.around(first, last))
