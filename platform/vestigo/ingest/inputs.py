"""What a camera archive consists of, as small frozen facts that travel as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from vestigo_models.errors import ConfigError


class _Json:
    """Flat dataclasses to and from plain JSON objects."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this value."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the value of a JSON object that `to_json` made."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True)
class Locator(_Json):
    """Where the bytes of an image are, such that reading it touches nothing else of a large archive.

    kind: a file of its own, bytes as they are in a tar, or an entry of a zip; member: its name in the archive;
    offset: first byte in a tar, local header in a zip; size: bytes of content; packed: bytes in the zip.
    """

    kind: Literal["file", "tar", "zip"]
    path: str
    member: str = ""
    offset: int = 0
    size: int = 0
    packed: int = 0


@dataclass(frozen=True)
class ImageInput(_Json):
    """One still image: a crop or a frame.

    name: path inside the source; digest: SHA-256 (hex) of the content; time: ISO 8601 or None; pid: label from the
    name of a dataset's file, None where there is none.
    """

    name: str
    digest: str
    locator: Locator
    camera: str
    time: str | None = None
    pid: int | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the value of a JSON object that `to_json` made."""
        return super().from_json({**data, "locator": Locator.from_json(data["locator"])})


@dataclass(frozen=True)
class Keyframe:
    """A frame at which decoding can start.

    index: its number in order of presentation; key: what the decoder reports as this frame's `pts` (ticks of the
    stream's time base); seek: the timestamp to seek to; offset_s: seconds from the start of the video.
    """

    index: int
    key: int
    seek: int
    offset_s: float


@dataclass(frozen=True)
class VideoInfo(_Json):
    """What is known about a video before it is decoded.

    frames: pictures found by reading the file through; declared_frames: what its header says (0 = nothing);
    ordered: presentation times can be trusted, else time is the frame's index over the rate; origin: timestamp of
    the first picture; rate, time_base: exact fractions as text; truncated: a sentence when the file is shorter than
    its own container says.
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

    def around(self, first: int, last: int) -> VideoInfo:
        """The same, with only the keyframes of a stretch (indices first .. last): small enough for a shard."""
        return replace(self, keyframes=tuple(k for k in self.keyframes if first <= k.index <= last))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the value of a JSON object that `to_json` made."""
        return super().from_json({**data, "keyframes": tuple(Keyframe(**keyframe) for keyframe in data["keyframes"])})


@dataclass(frozen=True)
class VideoInput(_Json):
    """One video file; start: ISO 8601 time of its first frame, or None."""

    name: str
    digest: str
    path: str
    camera: str
    start: str | None
    info: VideoInfo

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the value of a JSON object that `to_json` made."""
        return super().from_json({**data, "info": VideoInfo.from_json(data["info"])})


@dataclass(frozen=True)
class Problem(_Json):
    """An input that cannot be processed, found while planning: it is quarantined under its name and reason."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Ignored(_Json):
    """A file that is neither image nor video; it is counted and left alone."""

    name: str


Item = ImageInput | VideoInput | Problem | Ignored
_KINDS: dict[str, type[ImageInput] | type[VideoInput] | type[Problem] | type[Ignored]] = {
    "image": ImageInput,
    "video": VideoInput,
    "problem": Problem,
    "ignored": Ignored,
}


def item_to_json(item: Item) -> dict[str, Any]:
    """Return the JSON object of any item, with its `kind`."""
    kind = next(name for name, known in _KINDS.items() if type(item) is known)
    return {"kind": kind, **item.to_json()}


def item_from_json(data: dict[str, Any]) -> Item:
    """Return the item of a JSON object that `item_to_json` made."""
    if data.get("kind") not in _KINDS:
        raise ConfigError(f"unknown kind of input {data.get('kind')!r}: expected one of {', '.join(_KINDS)}")
    return _KINDS[data["kind"]].from_json(data)
