"""Numbers and times of the frames of a video stream, from its packets in decoding order.

Frames are numbered from 0 in order of presentation; a frame that cannot be decoded has a number too. The time of a
frame is the presentation time of its packet. Where stamps wrap or start again, time goes on; a gap stays a gap; a stamp
far from its neighbours on both sides counts as missing, and a missing time is that of the frame before plus one frame.
Where stamps are in the order of decoding although frames are reordered, the stamps are sorted.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

LOOKAHEAD = 32  # packets after a jump that show whether one stamp is wrong, or time goes on from there
GAP_S, BACKWARD_S = 10, 1  # larger steps ahead and back are jumps; smaller ones are gaps and reordering
WRAPS = {"mpegts": 2**33, "mpeg": 2**33, "flv": 2**32}
"""Ticks after which the stamps of a container start again from 0 (ISO/IEC 13818-1, 2.4.3.6, for MPEG)."""
MAX_WRAP_GAP_S = 3600
VP8_SHOWN = 0x10
FALLBACK_RATE = Fraction(25)
MAX_DELAY = 17  # packets that are decoded at most between the packet of a frame and the frame
NO_TIMESTAMPS = 0x80
"""FFmpeg's flag `AVFMT_NOTIMESTAMPS` of formats whose packets carry no times."""


def declared_rate(stream: VideoStream) -> Fraction:
    """Return the frame rate of a stream as its headers have it; 25 if they have none."""
    has_stamps = stream.start_time is not None and not stream.container.format.flags & NO_TIMESTAMPS
    rate = (stream.average_rate if has_stamps else stream.guessed_rate) or stream.guessed_rate
    return Fraction(rate) if rate and rate > 0 else FALLBACK_RATE


@dataclass
class Clock:
    """Presentation stamps of packets on one continuous time line, in ticks of the stream's time base."""

    step: Fraction  # ticks from one frame to the next by the declared rate
    second: Fraction  # ticks of a second
    wrap: int  # ticks after which stamps start again from 0; 0 if they never do
    is_reordered: bool  # whether frames are decoded in another order than presented
    is_missing: bool = False  # whether the format has no stamps, and those of packets are made up
    shift: int = 0  # ticks to add to the stamps of the packets that come next
    _last: Fraction | None = None
    _is_exact: bool = False  # whether the packet before had a decoding stamp
    _backward: Fraction = Fraction(0)  # ticks that stamps can go back by jitter or, without decoding stamps, reordering

    @classmethod
    def of(cls, stream: VideoStream, shift: int = 0) -> Clock:
        """Return the clock of a stream; `shift` is that of the keyframe at which reading begins."""
        second = 1 / (stream.time_base or Fraction(1, 1000))
        step = second / declared_rate(stream)
        wrap = WRAPS.get(stream.container.format.name, 0)
        is_missing = bool(stream.container.format.flags & NO_TIMESTAMPS)
        return cls(step, second, wrap, bool(stream.codec_context.has_b_frames), is_missing, shift)

    def read(self, packets: Iterable[Packet[Any]]) -> Iterator[tuple[Packet[Any], int | None]]:
        """Yield each packet with its presentation stamp, None if it has none; an error of `packets` comes last."""
        upcoming: deque[Packet[Any]] = deque()
        failure: Exception | None = None
        try:
            for packet in packets:
                upcoming.append(packet)
                if len(upcoming) > LOOKAHEAD:
                    first = upcoming.popleft()
                    yield first, self._stamp(first, upcoming)
        except av.error.FFmpegError as error:
            failure = error
        while upcoming:
            first = upcoming.popleft()
            yield first, self._stamp(first, upcoming)
        if failure is not None:
            raise failure

    def _stamp(self, packet: Packet[Any], upcoming: Iterable[Packet[Any]]) -> int | None:
        decoding = decoding_stamp(packet)
        if decoding is None or not packet.size or self.is_missing:
            return None
        at = Fraction(decoding + self.shift)
        is_exact = packet.dts is not None and self._is_exact
        self._backward = 2 * self.step if is_exact else BACKWARD_S * self.second
        self._is_exact = packet.dts is not None
        if self._last is not None and not self._follows(at, self._last):
            if self._is_outlier(at, self._last, upcoming):
                self._last += self.step
                return None
            if at < self._last:
                self.shift += self._correction(at, self._last)
                at = Fraction(decoding + self.shift)
        self._last = at
        if packet.pts is None:
            return None if self.is_reordered else int(at)
        presentation = packet.pts + self.shift
        limit = GAP_S * self.second
        others = (other.pts + self.shift for other in upcoming if other.pts is not None)
        is_near = abs(presentation - at) <= limit or any(abs(other - presentation) <= limit for other in others)
        return presentation if is_near else None

    def _follows(self, at: Fraction, last: Fraction) -> bool:
        return -self._backward <= at - last <= max(GAP_S * self.second, 2 * self.step)

    def _is_outlier(self, at: Fraction, last: Fraction, upcoming: Iterable[Packet[Any]]) -> bool:
        """Whether more of the next packets go on from `last` than from `at`."""
        stamps = [Fraction(stamp + self.shift) for packet in upcoming if (stamp := decoding_stamp(packet)) is not None]
        return sum(self._follows(stamp, last) for stamp in stamps) > sum(self._follows(stamp, at) for stamp in stamps)

    def _correction(self, at: Fraction, last: Fraction) -> int:
        """Return the ticks to add from here on, where stamps went back from `last` to `at`."""
        if self.wrap and -BACKWARD_S * self.second <= at + self.wrap - last <= MAX_WRAP_GAP_S * self.second:
            return self.wrap
        return round(last + self.step - at)


def file_stamp(item: Packet[Any] | VideoFrame) -> int | None:
    """Return the presentation stamp in the file, else the decoding stamp."""
    return item.pts if item.pts is not None else item.dts


def decoding_stamp(packet: Packet[Any]) -> int | None:
    """Return the decoding stamp in the file, else the presentation stamp."""
    return packet.dts if packet.dts is not None else packet.pts


def is_shown(packet: Packet[Any]) -> bool:
    """Whether a packet holds a frame that players show: not before an edit list's beginning, no hidden VP8 frame."""
    if not packet.size or packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(bytes(memoryview(packet)[:1])[0] & VP8_SHOWN)


@dataclass(frozen=True)
class NumberedFrame:
    """A frame in order of presentation."""

    index: int  # number of the frame, from 0
    stamp: int | None  # presentation time in ticks, None if the stream has none for it
    frame: VideoFrame | None  # the decoded frame; None if it cannot be decoded
    problem: str | None = None  # why it cannot be decoded, or that its pixels are damaged; None for an intact frame


@dataclass
class FrameNumbering:
    """Decodes packets and numbers their frames in the order in which they leave the decoder.

    A frame is held back while one that is presented before it can still come, so that missing frames are counted.
    """

    ordered: bool  # whether stamps are those of their packets' frames; else the next frame has the least stamp
    anchors: Mapping[int, int]  # numbers of keyframes by their stamp in the file, which correct this count
    index: int = 0  # number of the next frame
    begin: int | None = None  # stamp at which numbering begins; frames before it are passed over
    _least: int = 0
    _position: int = 0  # of the packet that is decoded
    # Stamp and position of the packets without a frame, in order.
    _waiting: list[tuple[int, int]] = field(default_factory=list)
    # Frames without a number, with stamp and position of their packets, and the position at which each was decoded.
    _held: deque[tuple[tuple[int, int] | None, int, VideoFrame | None]] = field(default_factory=deque)
    _last: tuple[tuple[int, int], int] = ((-(2**63), -1), -1)  # the frame with the largest stamp, as in `_held`
    _message: str = "the decoder gives no frame"

    def decode(
        self, packets: Iterable[tuple[Packet[Any], int | None]], codec: VideoCodecContext
    ) -> Iterator[NumberedFrame]:
        """Yield the frames of stamped packets; reading ends at an error of the container."""
        codec.flags |= int(av.codec.context.Flags.copy_opaque)
        if codec.name == "hevc":
            # The decoder drops all frames after a loss up to the next keyframe, and others conceal it.
            codec.flags |= int(av.codec.context.Flags.output_corrupt)
        with suppress(av.error.FFmpegError):
            for position, (packet, stamp) in enumerate(packets):
                self._position = position
                shown = is_shown(packet) and (stamp is None or self.begin is None or stamp >= self.begin)
                packet.opaque = (position, stamp, shown)
                if shown and stamp is not None:
                    insort(self._waiting, (stamp, position))
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    break
                except av.error.FFmpegError as error:
                    frames, self._message = [], error.strerror or type(error).__name__
                    if shown and (stamp is None or not self.ordered):
                        yield from self._place(None, None)
                for frame in frames:
                    yield from self._number(frame)
                yield from self._settle(position - MAX_DELAY)
        with suppress(av.error.FFmpegError):
            for frame in codec.decode(None):
                yield from self._number(frame)
        yield from self._settle(self._position)
        if self.ordered:
            yield from (self._next(stamp, None) for stamp, _ in self._waiting)

    def _number(self, frame: VideoFrame) -> Iterator[NumberedFrame]:
        origin = cast("tuple[int, int | None, bool] | None", frame.opaque)
        position, stamp, shown = origin or (-1, None, True)
        if not shown:
            return
        key = None if stamp is None else (stamp, position)
        if not self.ordered and (at := file_stamp(frame)) is not None and at in self.anchors:
            self.index = max(self._least, self.anchors[at])
            self._waiting = [other for other in self._waiting if key is None or other >= key]
        yield from self._place(key, frame)
        self._least = self.index

    def _place(self, key: tuple[int, int] | None, frame: VideoFrame | None) -> Iterator[NumberedFrame]:
        if not self.ordered:
            yield self._next(self._waiting.pop(0)[0] if self._waiting else None, frame)
            return
        if key is not None:
            self._waiting = [other for other in self._waiting if other != key]
            last, decoded_at = self._last
            if key > last:
                self._last = (key, self._position)
            elif key[1] <= decoded_at:
                key = None  # The decoder gives it after a loss or a jump later than its stamp says.
        self._held.append((key, self._position, frame))

    def _settle(self, position: int) -> Iterator[NumberedFrame]:
        """Yield the frames that wait for no other one; a frame of a packet up to `position` no longer comes."""
        while self._held:
            key, decoded_at, frame = self._held[0]
            for other in list(self._waiting):
                if key is not None and other < key and other[1] <= decoded_at:
                    if other[1] > position:
                        return
                    self._waiting.remove(other)
                    yield self._next(other[0], None)
            self._held.popleft()
            yield self._next(None if key is None else key[0], frame)
        if not self.ordered:
            self._waiting = [other for other in self._waiting if other[1] > position]

    def _next(self, stamp: int | None, frame: VideoFrame | None) -> NumberedFrame:
        self.index += 1
        damage = "its pixels are damaged" if frame is not None and frame.is_corrupt else None
        return NumberedFrame(self.index - 1, stamp, frame, self._message if frame is None else damage)
