"""Probe a video by reading it through; headers are often wrong."""

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
from vestigo.ingest.sources.containers import file_digest
from vestigo.ingest.video.truncation import missing_bytes
from vestigo_models.errors import BadInput
from vestigo_models.inference.images import MAX_PIXELS

PROBED_FRAMES = 48
"""Frames that are decoded to check times and entry points; no codec reorders over so many."""
FALLBACK_RATE = Fraction(25)


def probe_video(path: Path) -> VideoInfo:
    """Read a video through once, decoding only its first frames.

    Raises:
        BadInput: `empty-file`, `unreadable`, `not-a-video`, `no-video`, `no-frames`, `too-large`, `truncated`.
    """
    try:
        if path.stat().st_size == 0:
            raise BadInput("empty-file", f"{path.name} holds no byte")
        digest = file_digest(path)
        truncated = missing_bytes(path)
    except OSError as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None
    try:
        with open_video(path) as container:
            return _read_info(path, container, digest, truncated)
    except BadInput as error:
        if truncated is not None and error.reason in ("not-a-video", "no-frames"):
            raise BadInput("truncated", f"{path.name}: {truncated}, and no frame can be read") from None
        raise


def open_video(path: Path) -> InputContainer:
    """Open a container; raise BadInput `not-a-video` or `unreadable`."""
    try:
        return av.open(str(path), metadata_errors="replace")
    except av.error.InvalidDataError:
        raise BadInput("not-a-video", f"{path.name} is in no known video format") from None
    except (av.error.FFmpegError, OSError) as error:
        raise BadInput("unreadable", f"{path.name}: {error.strerror or error}") from None


def video_stream(container: InputContainer) -> VideoStream:
    """Return the first video stream but cover images, decoded by one thread; raise BadInput `no-video` without one."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_count = 1
            return stream
    raise BadInput("no-video", f"{Path(container.name).name} holds no video stream")


def decode_packets(packets: Iterator[Packet[Any]]) -> Iterator[VideoFrame | str]:
    """Decode packet by packet; yield the decoder's message for what cannot be decoded."""
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


def timestamp_of(frame: VideoFrame | Packet[Any]) -> int | None:
    """Return the unique timestamp of a frame, in ticks; in an AVI it is not the presentation time."""
    return frame.pts if frame.pts is not None else frame.dts


@dataclass
class _Scan:
    """Facts from the packets of a stream; memory is that of the keyframes."""

    frames: int = 0
    origin: int | None = None
    end: int | None = None
    has_timestamps: bool = True
    broken: str | None = None
    entries: list[list[int]] = field(default_factory=list)  # index, timestamp, position in decoding order

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
        at = timestamp_of(packet)
        self.has_timestamps &= packet.pts is not None
        if at is not None:
            self.origin = at if self.origin is None else min(self.origin, at)
            self.end = at if self.end is None else max(self.end, at)
            if packet.is_keyframe:
                self.has_timestamps &= not self.entries or at > self.entries[-1][1]
                self.entries.append([self.frames, at, self.frames])
            elif self.entries and at < self.entries[-1][1]:
                # A frame that is decoded after the keyframe and presented before it.
                self.entries[-1][0] += 1
        self.frames += 1


def _read_info(path: Path, container: InputContainer, digest: str, truncated: str | None) -> VideoInfo:
    stream = video_stream(container)
    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise BadInput("too-large", f"{path.name}: {context.width}x{context.height} pixels a frame")
    scan = _Scan()
    scan.read(container.demux(stream))
    if not scan.frames:
        raise BadInput("no-frames", f"{path.name} holds a video stream without a frame")
    timestamps = _first_timestamps(path, None)
    if not timestamps:
        raise BadInput("no-frames", f"{path.name}: none of the first {PROBED_FRAMES} frames can be decoded")
    ordered = scan.has_timestamps and all(earlier < later for earlier, later in pairwise(timestamps))
    base = stream.time_base or Fraction(1, 1000)
    origin = scan.origin or 0
    span = Fraction((scan.end or 0) - origin) * base
    declared_rate = stream.average_rate or stream.guessed_rate or FALLBACK_RATE
    measured = Fraction(scan.frames - 1) / span if ordered and span else declared_rate
    # The declared rate is exact unless it is wrong (variable rates); then the mean is used.
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


def _first_timestamps(path: Path, seek: int | None) -> list[int]:
    """Return the timestamps of the first frames in order of presentation, from the beginning or an entry point."""
    with open_video(path) as container:
        stream = video_stream(container)
        if seek is not None:
            container.seek(seek, stream=stream)
        frames = islice(decode_packets(container.demux(stream)), PROBED_FRAMES)
        return [at for frame in frames if isinstance(frame, VideoFrame) and (at := timestamp_of(frame)) is not None]


def _is_closed(path: Path, key: int) -> bool:
    """Whether decoding can start at a keyframe of a file whose timestamps count frames in decoding order.

    It can if the keyframe is the first decoded frame and none of the next is missing. In an open group of pictures the
    frames that are presented before the keyframe are missing, and all later indices would be wrong.
    """
    timestamps = _first_timestamps(path, key)
    first_half = sorted(timestamps)[: len(timestamps) // 2]
    step = first_half[1] - first_half[0] if len(first_half) > 1 else 1
    return timestamps[:1] == [key] and first_half == list(range(key, key + step * len(first_half), step))
