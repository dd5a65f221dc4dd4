"""Decode the sampled frames of a slice of a video; the frames do not depend on slicing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vestigo.ingest.inputs import Keyframe, VideoInfo
from vestigo.ingest.video.pixels import to_rgb
from vestigo.ingest.video.probe import open_video, video_stream
from vestigo.ingest.video.timeline import Clock, FrameNumbering, NumberedFrame, file_stamp
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
    the planned size. It counts the owned frames that were `decoded`, sampled or not; `failures` are those that could
    not be, or whose pixels are damaged.
    """

    def __init__(self, path: str | Path, info: VideoInfo, part: VideoSlice, fps: float) -> None:
        self.path = Path(path)
        self.info = info
        self.part = part
        self.decoded = 0
        self.failures: list[DecodeFailure] = []
        # A rate of one frame in an hour or a day would be rounded to 0.
        self._fps = Fraction(fps).limit_denominator(1001) or Fraction(fps)
        self._from_s = part.start_s(info)
        self._entry = part.entry_keyframe(info, fps)
        self._first = part.first  # frames before it are those of an earlier slice, or were read already
        self._cell = -1  # the last cell that was read

    def __iter__(self) -> Iterator[SampledFrame]:
        self.decoded = 0
        self.failures = []
        previous = self._cell
        for number, time_s in _timed_frames(self.path, self.info, self._entry):
            index, frame = number.index, number.frame
            if index >= self.part.last:
                return
            is_owned = index >= self._first
            if number.problem is not None and is_owned:
                reason = "undecodable-frame" if frame is None else "damaged-frame"
                self.failures.append(DecodeFailure(index, reason, f"frame {index}: {number.problem}"))
            if frame is None:
                continue
            self.decoded += is_owned
            cell = int((time_s + ROUNDING) * self._fps // 1)
            if cell > previous and time_s >= self._from_s:
                try:
                    image = to_rgb(frame, (self.info.width, self.info.height))
                except av.error.FFmpegError as error:
                    detail = f"frame {index}: pixel format {frame.format.name}: {error.strerror or error}"
                    self.failures.append(DecodeFailure(index, "undecodable-frame", detail))
                    continue
                yield SampledFrame(index, cell, float(time_s), image)
            previous = max(previous, cell)

    def skip(self, last: SampledFrame | None, error: BadInput, *, to_end: bool) -> bool:
        """Begin at the next keyframe, or leave out all frames `to_end`, after `error` ended the decoder behind `last`.

        The owned frames between are added to `failures` as one.

        Returns:
            Whether there is anything left to read.
        """
        begin = self._entry.index if self._entry is not None else 0
        lost = begin
        if last is not None:
            lost, self._cell = max(begin, last.index + 1), last.cell
        later = (k for k in self.info.keyframes if k.index > begin and k.index >= lost)
        keyframe = next((k for k in later if k.index < self.part.last and not to_end), None)
        end = keyframe.index if keyframe is not None else self.part.last
        if (lost := max(lost, self._first)) < end:
            detail = f"frames {lost} to {end - 1}: {error.detail}"
            self.failures.append(DecodeFailure(lost, error.reason, detail))
        self._entry, self._first = keyframe or self._entry, max(self._first, end)
        return keyframe is not None


def read_frame(path: str | Path, info: VideoInfo, index: int) -> NDArray[np.uint8]:
    """Decode one frame, RGB uint8 (h, w, 3); raise BadInput `no-such-frame`, or as `FrameReader`."""
    before = [keyframe for keyframe in info.keyframes if 0 < keyframe.index <= index]
    for number, _ in _timed_frames(Path(path), info, before[-1] if before else None):
        if number.index == index and number.frame is not None:
            return to_rgb(number.frame, (info.width, info.height))
        if number.index > index:
            break
    raise BadInput("no-such-frame", f"{Path(path).name} has no readable frame {index}")


def _timed_frames(path: Path, info: VideoInfo, entry: Keyframe | None) -> Iterator[tuple[NumberedFrame, Fraction]]:
    """Yield the frames of a video with their times in seconds, from an entry point on."""
    base, rate = Fraction(info.time_base), Fraction(info.rate)
    index, time_s = (-1, -1 / rate) if entry is None else (entry.index - 1, Fraction(entry.offset_s) - 1 / rate)
    for number in _numbered_frames(path, info, entry):
        if number.stamp is None:
            time_s += (number.index - index) / rate
        else:
            time_s = (number.stamp - info.origin) * base
        index = number.index
        yield number, time_s


def _numbered_frames(path: Path, info: VideoInfo, entry: Keyframe | None) -> Iterator[NumberedFrame]:
    try:
        if path.stat().st_size != info.size_bytes:
            raise BadInput("changed", f"{path.name} is not the file that was planned; index it again")
    except OSError as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None
    anchors = {keyframe.key: keyframe.index for keyframe in info.keyframes}
    if entry is not None:
        with open_video(path) as container:
            stream = video_stream(container)
            packets = _packets_from(container, stream, entry)
            if packets is not None:
                begin = entry.key + entry.shift if info.ordered else None
                numbering = FrameNumbering(info.ordered, anchors, entry.index, begin)
                yield from numbering.decode(Clock.of(stream, entry.shift).read(packets), stream.codec_context)
                return
    with open_video(path) as container:
        stream = video_stream(container)
        numbering = FrameNumbering(info.ordered, anchors)
        yield from numbering.decode(Clock.of(stream).read(container.demux(stream)), stream.codec_context)


def _packets_from(container: InputContainer, stream: VideoStream, entry: Keyframe) -> Iterator[Packet[Any]] | None:
    """Return the packets from a keyframe on, including it; None if seeking misses it."""
    with suppress(av.error.FFmpegError):
        container.seek(entry.key, stream=stream)
        packets = container.demux(stream)
        for packet in packets:
            at = file_stamp(packet)
            if packet.is_keyframe and at == entry.key:
                return chain([packet], packets)
            if packet.is_keyframe and at is not None and at > entry.key:
                break
    return None
