"""Decode the sampled frames of a slice of a video; the frames do not depend on slicing."""

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
from vestigo.ingest.video.probe import decode_packets, open_video, timestamp_of, video_stream
from vestigo_models.errors import BadInput

EPSILON = 1e-6
ROUNDING = Fraction(1, 1000)
"""Containers round times to a millisecond at worst; a frame so close to the next cell belongs to it."""


@dataclass(frozen=True)
class VideoSlice:
    """Frames [first, last) that a slice owns, and the seconds before them that it also reads (lead-in)."""

    first: int
    last: int
    lead_s: float

    def start_s(self, info: VideoInfo) -> float:
        """Return the time of the first frame that the slice reads."""
        if self.first == 0:
            return 0.0
        return next(k.offset_s for k in info.keyframes if k.index == self.first) - self.lead_s

    def entry_keyframe(self, info: VideoInfo, fps: float) -> Keyframe | None:
        """Return the keyframe at which decoding starts; None is the beginning of the file.

        It is one cell earlier than needed, so that the first sampled frame is the first of its cell.
        """
        before = self.start_s(info) - 1 / fps
        at = bisect_right(info.keyframes, before, key=lambda keyframe: keyframe.offset_s) - 1
        return info.keyframes[at] if at >= 0 and info.keyframes[at].index > 0 else None


@dataclass(frozen=True)
class SampledFrame:
    """A frame: its index in order of presentation, its cell, seconds from the start, and RGB uint8 pixels."""

    index: int
    cell: int
    offset_s: float
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class DecodeFailure:
    """A frame that cannot be decoded; `frame` is the index of the next frame if the decoder gives none."""

    frame: int
    reason: str
    detail: str


def split_video(info: VideoInfo, seconds: float, lead_s: float) -> list[VideoSlice]:
    """Split a video at keyframes into slices of at least `seconds`, except for the last; they own each frame once."""
    firsts, start_s = [0], 0.0
    for keyframe in info.keyframes:
        if keyframe.index > 0 and keyframe.offset_s - start_s >= seconds - EPSILON:
            firsts.append(keyframe.index)
            start_s = keyframe.offset_s
    lasts = [*firsts[1:], max(info.frames, firsts[-1] + 1)]
    return [VideoSlice(first, last, lead_s) for first, last in zip(firsts, lasts, strict=True)]


class FrameReader:
    """Iterates over the sampled frames of a slice, lead-in first.

    It yields at most one frame of each cell of 1/`fps` seconds, the first that can be decoded. Cells are counted from
    the start of the video. Decoding starts at a keyframe, or at the beginning of the file if seeking misses the
    keyframe. Iterating raises BadInput `unreadable`, `not-a-video`, `no-video`, or `changed` if the file no longer has
    the planned size.

    Attributes:
        decoded: Number of owned frames that were decoded, sampled or not.
        failures: Owned frames that could not be decoded.
    """

    def __init__(self, path: str | Path, info: VideoInfo, part: VideoSlice, fps: float) -> None:
        self.path = Path(path)
        self.info = info
        self.part = part
        self.decoded = 0
        self.failures: list[DecodeFailure] = []
        self._fps = Fraction(fps).limit_denominator(1001)
        self._from_s = part.start_s(info)
        self._entry = part.entry_keyframe(info, fps)

    def __iter__(self) -> Iterator[SampledFrame]:
        self.decoded = 0
        self.failures = []
        previous = -1
        for index, time_s, frame in _numbered_frames(self.path, self.info, self._entry):
            if index >= self.part.last:
                return
            is_owned = index >= self.part.first
            if isinstance(frame, str):
                if is_owned:
                    self.failures.append(DecodeFailure(index, "undecodable-frame", f"frame {index}: {frame}"))
                continue
            self.decoded += is_owned
            cell = int((time_s + ROUNDING) * self._fps // 1)
            if cell > previous and time_s >= self._from_s:
                yield SampledFrame(index, cell, float(time_s), to_rgb(frame))
            previous = max(previous, cell)


def read_frame(path: str | Path, info: VideoInfo, index: int) -> NDArray[np.uint8]:
    """Decode one frame, RGB uint8 (height, width, 3).

    Raises:
        BadInput: `no-such-frame`, or as `FrameReader`.
    """
    before = [keyframe for keyframe in info.keyframes if 0 < keyframe.index <= index]
    for number, _, frame in _numbered_frames(Path(path), info, before[-1] if before else None):
        if number == index and isinstance(frame, VideoFrame):
            return to_rgb(frame)
        if number > index:
            break
    raise BadInput("no-such-frame", f"{Path(path).name} has no readable frame {index}")


def to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return RGB uint8 pixels, rotated by the file's display matrix."""
    image = frame.to_ndarray(format="rgb24")
    turns = round((frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns), dtype=np.uint8) if turns else np.asarray(image, dtype=np.uint8)


def _numbered_frames(
    path: Path, info: VideoInfo, entry: Keyframe | None
) -> Iterator[tuple[int, Fraction, VideoFrame | str]]:
    """Yield index, time in seconds and frame (or the decoder's message), from an entry point on."""
    try:
        if path.stat().st_size != info.size_bytes:
            raise BadInput("changed", f"{path.name} is not the file that was planned; index it again")
    except OSError as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None
    if entry is not None:
        with open_video(path) as container:
            frames = _decode_from(container, entry)
            if frames is not None:
                yield from _number(frames, info, entry.index)
                return
    with open_video(path) as container:
        yield from _number(decode_packets(container.demux(video_stream(container))), info, 0)


def _decode_from(container: InputContainer, entry: Keyframe) -> Iterator[VideoFrame | str] | None:
    """Return the frames from a keyframe on, including it; None if seeking misses it."""
    stream = video_stream(container)
    container.seek(entry.seek, stream=stream)
    frames = decode_packets(container.demux(stream))
    for frame in frames:
        if isinstance(frame, VideoFrame) and (at := timestamp_of(frame)) is not None:
            if at == entry.key:
                return chain([frame], frames)
            if at > entry.key:
                return None
    return None


def _number(
    frames: Iterator[VideoFrame | str], info: VideoInfo, first: int
) -> Iterator[tuple[int, Fraction, VideoFrame | str]]:
    """Number frames; each keyframe corrects the count, so that a lost frame does not shift later ones."""
    anchors = {keyframe.key: keyframe.index for keyframe in info.keyframes}
    base, rate = Fraction(info.time_base), Fraction(info.rate)
    index = first
    for frame in frames:
        at = None if isinstance(frame, str) else timestamp_of(frame)
        if at is not None:
            index = max(index, anchors.get(at, index))
        time_s = (at - info.origin) * base if info.ordered and at is not None else Fraction(index) / rate
        yield index, time_s, frame
        if isinstance(frame, VideoFrame):
            index += 1
