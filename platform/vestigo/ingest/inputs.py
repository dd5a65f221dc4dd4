"""Inputs of an archive, as records that can be stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

from vestigo_models.errors import ConfigError


@dataclass(frozen=True)
class Locator:
    """Where the bytes of an image are, so that they are read without the rest of a large archive.

    Attributes:
        path: Of the file or archive.
        offset: First byte in a tar, or local header in a zip.
        size, packed: Bytes of content, and compressed bytes in a zip.
    """

    kind: Literal["file", "tar", "zip"]
    path: str
    member: str = ""
    offset: int = 0
    size: int = 0
    packed: int = 0


@dataclass(frozen=True)
class ImageInput:
    """A still image: a crop or a frame.

    Attributes:
        name: Path inside the source.
        digest: SHA-256 (hex) of the content.
        time: ISO 8601, if known.
        pid: Identity of a dataset's file, if known.
    """

    name: str
    digest: str
    locator: Locator
    camera: str
    time: str | None = None
    pid: int | None = None


@dataclass(frozen=True)
class Keyframe:
    """A frame at which decoding can start.

    Attributes:
        index: Its number in order of presentation.
        key: The `pts` that the decoder reports for it, in ticks of the stream's time base.
        seek: The timestamp to seek to.
        offset_s: Seconds from the start of the video.
        shift: Ticks to add to the stamps of the file from here on, because they started again before.
    """

    index: int
    key: int
    seek: int
    offset_s: float
    shift: int = 0


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video, known before it is decoded.

    Attributes:
        digest: SHA-256 (hex) of the file.
        rate: Frames per second, an exact fraction as text.
        time_base: Seconds per tick, an exact fraction as text.
        origin: Timestamp of the first frame.
        frames: Number of frames, found by reading the file through.
        declared_frames: Number of frames in the header; 0 if it has none.
        ordered: Whether presentation times are reliable; else a frame's time is its index over the rate.
        keyframes: In order of presentation.
        truncated: A sentence if the file is shorter than its container declares.
    """

    digest: str
    size_bytes: int
    container: str
    codec: str
    width: int
    height: int
    rate: str
    time_base: str
    origin: int
    frames: int
    declared_frames: int
    duration_s: float
    ordered: bool
    keyframes: tuple[Keyframe, ...]
    truncated: str | None = None

    def with_keyframes(self, first: int, last: int) -> VideoInfo:
        """Return a copy with the keyframes of frames first .. last only, small enough for a shard."""
        return replace(self, keyframes=tuple(k for k in self.keyframes if first <= k.index <= last))


@dataclass(frozen=True)
class VideoInput:
    """A video file; `start` is the ISO 8601 time of its first frame, or None."""

    name: str
    digest: str
    path: str
    camera: str
    start: str | None
    info: VideoInfo


@dataclass(frozen=True)
class InvalidInput:
    """An input that cannot be processed; it is quarantined with its reason."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class IgnoredFile:
    """A file that is not read; it is counted by its kind, such as `.asf`, `system file` or `link`."""

    name: str
    file_kind: str


Input = ImageInput | VideoInput | InvalidInput | IgnoredFile
INPUT_KINDS: dict[str, type] = {
    "image": ImageInput,
    "video": VideoInput,
    "problem": InvalidInput,
    "ignored": IgnoredFile,
}


def input_to_json(item: Input) -> dict[str, Any]:
    """Return an input as a JSON object with its `kind`."""
    return to_json(item, INPUT_KINDS)


def input_from_json(data: Mapping[str, Any]) -> Input:
    """Return the input of a JSON object of `input_to_json`."""
    item: Input = from_json(data, INPUT_KINDS, "input")
    return item


def to_json(value: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return a dataclass as a JSON object with the name of its type in `kinds`."""
    kind = next(name for name, known in kinds.items() if type(value) is known)
    return {"kind": kind, **asdict(value)}


def from_json(data: Mapping[str, Any], kinds: Mapping[str, type], what: str) -> Any:
    """Return the dataclass of a JSON object of `to_json`; `what` names it in errors."""
    kind = str(data.get("kind"))
    if kind not in kinds:
        raise ConfigError(f"unknown kind of {what} {kind!r}: expected one of {', '.join(kinds)}")
    return _adapter(kinds[kind]).validate_python({name: value for name, value in data.items() if name != "kind"})


@cache
def _adapter(kind: type) -> Any:
    # A process that decodes images needs no pydantic, whose import takes a tenth of a second.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
