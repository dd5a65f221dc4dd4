"""Inputs of an archive, as records that can be stored as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

from vestigo_models.errors import ConfigError


@dataclass(frozen=True)
class Locator:
    """Where the bytes of an image are, so that they are read without the rest of a large archive.

    `offset` is the first byte in a tar, or the local header in a zip; `size` are bytes of content, `packed` compressed
    ones in a zip.
    """

    kind: Literal["file", "tar", "zip"]
    path: str
    member: str = ""
    offset: int = 0
    size: int = 0
    packed: int = 0


@dataclass(frozen=True)
class ImageInput:
    """A still image, a crop or a frame: its path inside the source, SHA-256 (hex), ISO 8601 time and identity."""

    name: str
    digest: str
    locator: Locator
    camera: str
    time: str | None = None
    pid: int | None = None


@dataclass(frozen=True)
class Keyframe:
    """A frame at which decoding can start."""

    index: int  # its number in order of presentation
    key: int  # the timestamp to seek to, which the decoder reports for it, in ticks of the stream's time base
    offset_s: float  # seconds from the start of the video
    shift: int = 0  # ticks to add to the stamps of the file from here on, because they started again before


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video, known before it is decoded."""

    digest: str  # SHA-256 (hex) of the file
    size_bytes: int
    container: str
    codec: str
    width: int
    height: int
    rate: str  # frames per second, an exact fraction as text
    time_base: str  # seconds per tick, an exact fraction as text
    origin: int  # timestamp of the first frame
    frames: int  # number of frames, found by reading the file through
    declared_frames: int  # number of frames in the header; 0 if it has none
    duration_s: float
    ordered: bool  # whether packets carry the times of their frames; else frames get sorted times, or index over rate
    keyframes: tuple[Keyframe, ...]  # in order of presentation
    truncated: str | None = None  # a sentence if the file is shorter than its container declares


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
INPUT_KINDS = {"image": ImageInput, "video": VideoInput, "problem": InvalidInput, "ignored": IgnoredFile}


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
