"""Frames of a slice of a video: the same frames, whatever the slices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vestigo.ingest.inputs import Keyframe, VideoInfo
from vestigo.ingest.video.probe import decode, open_video, stamp, video_stream
from vestigo_models.errors import BadInput

EPSILON = 1e-6
ROUNDING = Fraction(1, 1000)
"""Containers round times to a millisecond at worst; a frame so near to the next cell of time belongs to it."""


@dataclass(frozen=True)
class VideoSlice:
    """Frames [first, last) by index, which the slice owns, and the seconds before them that it also looks at."""

    first: int
    last: int
    lead_s: float

    def start_s(self, info: VideoInfo) -> float:
        """The moment from which the slice looks at frames."""
        if self.first == 0:
            return 0.0
        return next(k.offset_s for k in info.keyframes if k.index == self.first) - self.lead_s

    def entry(self, info: VideoInfo, fps: float) -> Keyframe | None:
        """The keyframe at which decoding starts; None for the beginning of the file.

        It lies one cell earlier than needed, so that the first sampled frame is known to be the first of its cell.
        """
        before = self.start_s(info) - 1 / fps
        at = bisect_right(info.keyframes, before, key=lambda keyframe: keyframe.offset_s) - 1
        return info.keyframes[at] if at >= 0 and info.keyframes[at].index > 0 else None


@dataclass(frozen=True)
class Frame:
    """A sampled frame: its index in order of presentation, cell of time, seconds from the start, RGB uint8 pixels."""

    index: int
    cell: int
    offset_s: float
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Failure:
    """A frame that could not be decoded; the index is that of the next frame where the decoder gives none."""

    frame: int
    reason: str
    detail: str


def slices(info: VideoInfo, seconds: float, lead_s: float) -> list[VideoSlice]:
    """Cut a video at keyframes into slices of at least `seconds`, the last one excepted; they own each frame once."""
    firsts, start_s = [0], 0.0
    for keyframe in info.keyframes:
        if keyframe.index > 0 and keyframe.offset_s - start_s >= seconds - EPSILON:
            firsts.append(keyframe.index)
            start_s = keyframe.offset_s
    lasts = [*firsts[1:], max(info.frames, firsts[-1] + 1)]
    return [VideoSlice(first, last, lead_s) for first, last in zip(firsts, lasts, strict=True)]


class FrameReader:
    """Iterates over the sampled frames of a slice, lead-in first; afterwards tells what was decoded and what failed.

    At most one frame of each cell of 1/`fps` seconds is given, the first that can be decoded; cells are counted from
    the start of the video, hence are the same for every slice. Reading starts at a keyframe that it verifies to have
    hit, and at the beginning of the file where seeking misses.

    Attributes:
        decoded: frames that the slice owns and that were decoded, sampled or not.
        failures: frames that it owns and that were not.

    Raises (while iterating):
        BadInput: `unreadable`, `not-a-video`, `no-video`, or `changed` when the file no longer has the planned size.
    """

    def __init__(self, path: str | Path, info: VideoInfo, part: VideoSlice, fps: float) -> None:
        self.path = Path(path)
        self.info = info
        self.part = part
        self.decoded = 0
        self.failures: list[Failure] = []
        self._fps = Fraction(fps).limit_denominator(1001)
        self._from_s = part.start_s(info)
        self._entry = part.entry(info, fps)

    def __iter__(self) -> Iterator[Frame]:
        self.decoded = 0
        self.failures = []
        previous = -1
        for index, moment, frame in _numbered(self.path, self.info, self._entry):
            if index >= self.part.last:
                return
            owned = index >= self.part.first
            if isinstance(frame, str):
                if owned:
                    self.failures.append(Failure(index, "undecodable-frame", f"frame {index}: {frame}"))
                continue
            self.decoded += owned
            cell = int((moment + ROUNDING) * self._fps // 1)
            if cell > previous and moment >= self._from_s:
                yield Frame(index, cell, float(moment), pixels(frame))
            previous = max(previous, cell)


def read_frame(path: str | Path, info: VideoInfo, index: int) -> NDArray[np.uint8]:
    """Decode one frame, RGB uint8 (height, width, 3).

    Raises:
        BadInput: `no-such-frame`, and as `FrameReader`.
    """
    before = [keyframe for keyframe in info.keyframes if 0 < keyframe.index <= index]
    for number, _, frame in _numbered(Path(path), info, before[-1] if before else None):
        if number == index and isinstance(frame, VideoFrame):
            return pixels(frame)
        if number > index:
            break
    raise BadInput("no-such-frame", f"{Path(path).name} has no readable frame {index}")


def pixels(frame: VideoFrame) -> NDArray[np.uint8]:
    """RGB uint8 pixels, turned upright as the file's display matrix says."""
    image = frame.to_ndarray(format="rgb24")
    turns = round((frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns), dtype=np.uint8) if turns else np.asarray(image, dtype=np.uint8)


def _numbered(path: Path, info: VideoInfo, entry: Keyframe | None) -> Iterator[tuple[int, Fraction, VideoFrame | str]]:
    """Index, moment in seconds and frame (or what went wrong), from an entry point on."""
    try:
        if path.stat().st_size != info.size_bytes:
            raise BadInput("changed", f"{path.name} is not the file that was planned; index it again")
    except OSError as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None
    if entry is not None:
        with open_video(path) as container:
            frames = _from_entry(container, entry)
            if frames is not None:
                yield from _count(frames, info, entry.index)
                return
    with open_video(path) as container:
        yield from _count(decode(container.demux(video_stream(container))), info, 0)


def _from_entry(container: InputContainer, entry: Keyframe) -> Iterator[VideoFrame | str] | None:
    """Frames from a keyframe on, itself the first; None when seeking leads past it."""
    stream = video_stream(container)
    container.seek(entry.seek, stream=stream)
    frames = decode(container.demux(stream))
    for frame in frames:
        if isinstance(frame, VideoFrame) and (at := stamp(frame)) is not None:
            if at == entry.key:
                return chain([frame], frames)
            if at > entry.key:
                return None
    return None


def _count(
    frames: Iterator[VideoFrame | str], info: VideoInfo, first: int
) -> Iterator[tuple[int, Fraction, VideoFrame | str]]:
    """Number frames, and set the count right at each keyframe: a frame lost before it must not shift those after."""
    anchors = {keyframe.key: keyframe.index for keyframe in info.keyframes}
    base, rate = Fraction(info.time_base), Fraction(info.rate)
    index = first
    for frame in frames:
        at = None if isinstance(frame, str) else stamp(frame)
        if at is not None:
            index = max(index, anchors.get(at, index))
        moment = (at - info.origin) * base if info.ordered and at is not None else Fraction(index) / rate
        yield index, moment, frame
        if isinstance(frame, VideoFrame):
            index += 1
