"""Finding out what a video holds, by reading it through rather than by trusting its header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vestigo.ingest.inputs import Keyframe, VideoInfo
from vestigo.ingest.sources.containers import digest_of
from vestigo.ingest.video.truncation import missing_bytes
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import MAX_PIXELS

TRIED_FRAMES = 48
"""Frames that are decoded to judge a file's times and entry points; no codec reorders over so many."""
FALLBACK_RATE = Fraction(25)


def probe(path: Path) -> VideoInfo:
    """Read a video through once, without decoding more than its first frames.

    Raises:
        BadInput: `empty-file`, `unreadable`, `not-a-video`, `no-video`, `no-frames`, `too-large`, `truncated`.
    """
    try:
        if path.stat().st_size == 0:
            raise BadInput("empty-file", f"{path.name} holds no byte")
        digest = digest_of(path)
        truncated = missing_bytes(path)
    except OSError as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None
    try:
        with open_video(path) as container:
            return _probe(path, container, digest, truncated)
    except BadInput as error:
        if truncated is not None and error.reason in ("not-a-video", "no-frames"):
            raise BadInput("truncated", f"{path.name}: {truncated}, and no frame can be read") from None
        raise


def open_video(path: Path) -> InputContainer:
    """Open a container, or raise BadInput `not-a-video` or `unreadable`."""
    try:
        return av.open(str(path), metadata_errors="replace")
    except av.error.InvalidDataError:
        raise BadInput("not-a-video", f"{path.name} is in no known video format") from None
    except (av.error.FFmpegError, OSError) as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None


def video_stream(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures, decoded by one thread; BadInput `no-video` where there is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_count = 1
            return stream
    raise BadInput("no-video", f"{Path(container.name).name} holds no video stream")


def decode(packets: Iterator[Packet[Any]]) -> Iterator[VideoFrame | str]:
    """Decode packet by packet; what cannot be decoded comes out as the decoder's message, and decoding goes on."""
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            yield error.strerror or type(error).__name__
            continue
        for frame in frames:
            yield "the decoder calls the frame corrupt" if frame.is_corrupt else frame


def stamp(frame: VideoFrame | Packet[Any]) -> int | None:
    """The time that identifies a frame, in ticks; in an AVI it is no time of presentation, but still unique."""
    return frame.pts if frame.pts is not None else frame.dts


@dataclass
class _Scan:
    """What the packets of a stream say, in constant memory but for the keyframes."""

    frames: int = 0
    origin: int | None = None
    end: int | None = None
    stamped: bool = True
    broken: str | None = None
    entries: list[list[int]] = field(default_factory=list)  # index, stamp, position in decoding order

    def read(self, packets: Iterator[Packet[Any]]) -> None:
        try:
            for packet in packets:
                if packet.size:
                    self._add(packet)
        except av.error.EOFError:
            pass
        except av.error.FFmpegError as error:
            self.broken = f"reading stops after {self.frames} frames: {error.strerror or error}"

    def _add(self, packet: Packet[Any]) -> None:
        at = stamp(packet)
        self.stamped &= packet.pts is not None
        if at is not None:
            self.origin = at if self.origin is None else min(self.origin, at)
            self.end = at if self.end is None else max(self.end, at)
            if packet.is_keyframe:
                self.stamped &= not self.entries or at > self.entries[-1][1]
                self.entries.append([self.frames, at, self.frames])
            elif self.entries and at < self.entries[-1][1]:
                # A picture that is decoded after the keyframe but shown before it.
                self.entries[-1][0] += 1
        self.frames += 1


def _probe(path: Path, container: InputContainer, digest: str, truncated: str | None) -> VideoInfo:
    stream = video_stream(container)
    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise BadInput("too-large", f"{path.name}: {context.width}x{context.height} pixels a frame")
    scan = _Scan()
    scan.read(container.demux(stream))
    if not scan.frames:
        raise BadInput("no-frames", f"{path.name} holds a video stream without a frame")
    stamps = _first_stamps(path, None)
    if not stamps:
        raise BadInput("no-frames", f"{path.name}: none of the first {TRIED_FRAMES} frames can be decoded")
    ordered = scan.stamped and all(earlier < later for earlier, later in pairwise(stamps))
    base = stream.time_base or Fraction(1, 1000)
    origin = scan.origin or 0
    span = Fraction((scan.end or 0) - origin) * base
    declared_rate = stream.average_rate or stream.guessed_rate or FALLBACK_RATE
    measured = Fraction(scan.frames - 1) / span if ordered and span else declared_rate
    # A header's rate is exact where it is true; where it is not (variable rates), the mean is.
    rate = declared_rate if abs(measured / declared_rate - 1) < Fraction(1, 50) else measured.limit_denominator(1001)
    keyframes = tuple(
        Keyframe(
            index=index, key=at, seek=at, offset_s=float((at - origin) * base if ordered else Fraction(position) / rate)
        )
        for index, at, position in scan.entries
        if ordered or index == position
    )
    if not ordered and len(keyframes) > 1 and not _is_closed(path, keyframes[1].key):
        keyframes = keyframes[:1]
    return VideoInfo(
        digest=digest,
        size_bytes=path.stat().st_size,
        container=container.format.name,
        codec=context.name,
        width=context.width,
        height=context.height,
        rate=str(rate),
        time_base=str(base),
        origin=origin,
        frames=scan.frames,
        declared_frames=stream.frames,
        duration_s=float(span + 1 / rate if ordered else scan.frames / rate),
        ordered=ordered,
        keyframes=keyframes,
        truncated=truncated or scan.broken,
    )


def _first_stamps(path: Path, seek: int | None) -> list[int]:
    """Stamps of the first frames in order of presentation, from the beginning or from an entry point."""
    with open_video(path) as container:
        stream = video_stream(container)
        if seek is not None:
            container.seek(seek, stream=stream)
        frames = islice(decode(container.demux(stream)), TRIED_FRAMES)
        return [at for frame in frames if isinstance(frame, VideoFrame) and (at := stamp(frame)) is not None]


def _is_closed(path: Path, key: int) -> bool:
    """Whether decoding can start at a keyframe of a file whose stamps merely count pictures in decoding order.

    It can when the keyframe comes out first and none of the next pictures is missing: with an open group of
    pictures, those shown before the keyframe would be, and every index behind them would be off.
    """
    stamps = _first_stamps(path, key)
    settled = sorted(stamps)[: len(stamps) // 2]
    step = settled[1] - settled[0] if len(settled) > 1 else 1
    return stamps[:1] == [key] and settled == list(range(key, key + step * len(settled), step))
